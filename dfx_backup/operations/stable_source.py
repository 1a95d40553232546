"""Who reads and writes a canister's streams."""

from dfx_backup.errors import EndpointError, RejectError, UsageError
from dfx_backup.ic.stable_adapters import (
    DEFAULT_METHOD,
    FactlandReader,
    OffsetBlobReader,
    VersionSource,
)
from dfx_backup.ic.stable_endpoints import EndpointsInfo, ImportSession, StableEndpoints, Stream
from dfx_backup.ic.stable_endpoints import Methods as Session
from dfx_backup.operations.stable_plans import Methods, StableProtocol
from dfx_backup.operations.target import Target
from dfx_backup.transfer.stable_reads import StreamReader


def session(target: Target) -> Session:
    """What calls the canister's own methods.

    Raises:
        UsageError: the identity's key can't be read, so nothing can be signed.
    """
    if target.direct is None or target.direct.methods is None:
        raise UsageError(
            "a canister's own methods are called by this program itself, which needs the"
            " identity's key",
            hint="choose an identity whose key can be read, with --identity",
        )
    return target.direct.methods


def endpoints(target: Target) -> StableEndpoints:
    """The kit's methods of a canister.

    Raises:
        UsageError: the identity's key can't be read.
    """
    return StableEndpoints(session(target), target.canister_id)


def import_in_progress(target: Target) -> ImportSession | None:
    """The import that has made half of the memory, as far as the canister tells; costs nothing.

    Raises:
        NetworkError: the network can't be reached.
    """
    if target.direct is None or target.direct.methods is None:
        return None
    try:
        return endpoints(target).glance().import_session
    except (RejectError, EndpointError):
        return None  # most canisters have no such method, and some let others call it


def reader(target: Target, methods: Methods) -> StreamReader:
    """Who reads a canister's streams.

    Raises:
        UsageError: the identity's key can't be read, or a method is named that is fixed.
    """
    calls = session(target)
    if methods.protocol is StableProtocol.OFFSET_BLOB:
        name = methods.method or DEFAULT_METHOD
        return OffsetBlobReader(calls, target.canister_id, _version_of(target), name)
    if methods.method is not None:
        raise UsageError("--method is for protocol offset-blob; others fix the names")
    if methods.protocol is StableProtocol.FACTLAND:
        return FactlandReader(calls, target.canister_id, _version_of(target))
    return StableEndpoints(calls, target.canister_id)


def _version_of(target: Target) -> VersionSource:
    """The canister's version from its status, for those who may see that."""

    def version() -> int | None:
        if target.direct is None:
            return None
        try:
            return target.direct.calls.status(target.canister_id).version
        except RejectError:
            return None

    return version


def choose_stream(info: EndpointsInfo, name: str | None) -> Stream:
    """The stream of that name, or the only one.

    Raises:
        UsageError: none was named, and there are several.
        EndpointError: there is none of that name.
    """
    names = ", ".join(each.name for each in info.streams) or "none"
    if name is None:
        if len(info.streams) == 1:
            return info.streams[0]
        raise UsageError(f"name one of the canister's streams: {names}", hint="--stream NAME")
    for each in info.streams:
        if each.name == name:
            return each
    raise EndpointError(
        f"the canister has no stream {name}",
        case="unknown_stream",
        detail=name,
        hint=f"its streams are: {names}",
    )
