"""Call the chat canister where there is no dfx, as the anonymous principal.

`chat.py URL CANISTER append TEXT` is what `dfx canister call chat append '("TEXT")'` is with dfx.
"""

import argparse

from ic.candid import Types, decode, encode

from dfx_backup.ic.agent import BackupAgent
from dfx_backup.ic.identity import AnonymousIdentity
from dfx_backup.ic.principal import Principal


def main() -> None:
    """Make one call and print its answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the network")
    parser.add_argument("canister", help="id of the canister")
    parser.add_argument("method", choices=("append", "dump", "remove_spam"))
    parser.add_argument("text", nargs="?", default="", help="the message, for append")
    options = parser.parse_args()
    agent = BackupAgent(options.url, AnonymousIdentity(), root_key=None)
    canister = Principal.from_text(options.canister)
    if options.method == "dump":
        reply = agent.query_verified(canister, "dump", encode([]))
        for message in decode(reply, Types.Vec(Types.Text))[0]["value"]:
            print(message)
        return
    told = [{"type": Types.Text, "value": options.text}] if options.method == "append" else []
    agent.call(canister, options.method, encode(told))


if __name__ == "__main__":
    main()
