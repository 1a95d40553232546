// Endpoints that let dfx-backup export and import what a persistent actor tells of its state.
//
//   include Backup(
//     func(caller) = false, // who may call besides the controllers
//     [{ name = "state"; dump; restore = ?restore }],
//   );
//
// The anonymous principal may never call. A stream is serialised once, by `backup_stage`, into a
// Region, and read from there. An import is written into that Region too, so the app's state changes
// in one message only: the one that found all hashes right and calls `restore`.
import Prim "mo:⛔";
import Sha256 "BackupSha256";
import Types "BackupTypes";

mixin (isAllowed : Principal -> Bool, apps : [Types.App]) {

  transient let backup_page : Nat64 = 65_536;
  transient let backup_max_write : Nat32 = 2_031_616; // an ingress message has 2 MiB with its envelope
  transient let backup_max_query : Nat32 = 3_144_704; // the reply of a query has 3 MiB
  transient let backup_max_update : Nat32 = 2_096_128; // that of an update 2 MiB
  transient let backup_min_chunk : Nat32 = 4_096;
  transient let backup_max_chunk : Nat32 = 4_194_304; // hashing it: 0.7 billion instructions
  transient let backup_max_chunks : Nat64 = 1_048_576;
  transient let backup_max_hashes : Nat = 32_768;
  transient let backup_query_budget : Nat64 = 2_500_000_000; // half of what a query may execute
  transient let backup_update_budget : Nat64 = 20_000_000_000; // half of what an update may

  var backup_staged : [Types.Staged] = [];
  var backup_session : ?Types.Session = null;
  var backup_finished : ?Nat64 = null;
  var backup_last_id : Nat64 = 0;
  let backup_hash_list : Region = Prim.regionNew();

  // Whether an import is under way: what the app's state becomes now, the import will replace.
  func backup_is_importing() : Bool {
    switch (backup_session) {
      case null false;
      case (?_) true;
    };
  };

  public shared query ({ caller }) func backup_info() : async Types.Answer<Types.Info> {
    if (not backup_permits(caller)) return #err(#unauthorized);
    #ok(backup_tell());
  };

  public shared query ({ caller }) func backup_read(
    arg : { stream : Text; offset : Nat64; length : Nat32 }
  ) : async Types.Answer<Blob> {
    if (not backup_permits(caller)) return #err(#unauthorized);
    let ?_ = backup_app(arg.stream) else return #err(#unknown_stream(arg.stream));
    let max = if (Prim.isReplicatedExecution()) backup_max_update else backup_max_query;
    if (arg.length > max) return #err(#too_large { max = Prim.nat32ToNat64(max) });
    let size = backup_size(arg.stream);
    let length = Prim.nat32ToNat64(arg.length);
    if (arg.offset > size or length > size - arg.offset) return #err(#out_of_range { size });
    switch (backup_find(arg.stream)) {
      case null #ok("");
      case (?staged) #ok(backup_load(staged.region, arg.offset, Prim.nat32ToNat(arg.length)));
    };
  };

  public shared query ({ caller }) func backup_hashes(
    arg : { stream : Text; offset : Nat64; chunk_size : Nat32; count : Nat32 }
  ) : async Types.Answer<Types.Hashes> {
    if (not backup_permits(caller)) return #err(#unauthorized);
    let ?_ = backup_app(arg.stream) else return #err(#unknown_stream(arg.stream));
    switch (backup_chunk_error(arg.chunk_size)) {
      case (?error) return #err(error);
      case null {};
    };
    let size = backup_size(arg.stream);
    if (arg.offset > size) return #err(#out_of_range { size });
    let chunk = Prim.nat32ToNat64(arg.chunk_size);
    let most = backup_min(
      backup_min(Prim.nat32ToNat64(arg.count), Prim.natToNat64(backup_max_hashes)),
      (size - arg.offset + chunk - 1) / chunk,
    );
    let found = Prim.Array_init<Blob>(Prim.nat64ToNat(most), "");
    var count = 0;
    label hashing while (count < found.size()) {
      let ?staged = backup_find(arg.stream) else break hashing;
      let at = arg.offset + Prim.natToNat64(count) * chunk;
      found[count] := Sha256.ofRegion(staged.region, at, backup_min(chunk, size - at));
      count += 1;
      if (Prim.performanceCounter(0) >= backup_query_budget) break hashing;
    };
    #ok {
      canister_version = Prim.canisterVersion();
      size;
      hashes = Prim.Array_tabulate<Blob>(count, func(i) = found[i]);
    };
  };

  public shared ({ caller }) func backup_stage(
    arg : { stream : Text }
  ) : async Types.Answer<Types.Info> {
    if (not backup_permits(caller)) return #err(#unauthorized);
    switch (backup_session) {
      case (?session) return #err(#import_in_progress(backup_import(session)));
      case null {};
    };
    let ?app = backup_app(arg.stream) else return #err(#unknown_stream(arg.stream));
    let staged = backup_region(arg.stream);
    staged.size := 0;
    func write(bytes : Blob) {
      let end = staged.size + Prim.natToNat64(bytes.size());
      if (not backup_grow(staged.region, end)) Prim.trap("no memory for a copy of " # arg.stream);
      backup_store(staged.region, staged.size, bytes);
      staged.size := end;
    };
    app.dump(write);
    #ok(backup_tell());
  };

  public shared ({ caller }) func backup_import_begin(
    arg : { stream : Text; size : Nat64; chunk_size : Nat32 }
  ) : async Types.Answer<Types.Import> {
    if (not backup_permits(caller)) return #err(#unauthorized);
    switch (backup_session) {
      case (?session) return #err(#import_in_progress(backup_import(session)));
      case null {};
    };
    let ?app = backup_app(arg.stream) else return #err(#unknown_stream(arg.stream));
    switch (app.restore) {
      case null return #err(#not_supported("import of " # arg.stream));
      case (?_) {};
    };
    switch (backup_chunk_error(arg.chunk_size)) {
      case (?error) return #err(error);
      case null {};
    };
    let most = backup_max_chunks * Prim.nat32ToNat64(arg.chunk_size);
    if (arg.size > most) return #err(#too_large { max = most });
    let staged = backup_region(arg.stream);
    if (not backup_grow(staged.region, arg.size)) {
      return #err(#cannot_grow { wanted_pages = backup_pages(arg.size) });
    };
    if (arg.size > staged.size) backup_clear(staged.region, staged.size, arg.size);
    staged.size := arg.size;
    let now = Prim.time();
    backup_last_id := if (now > backup_last_id) now else backup_last_id + 1;
    let session : Types.Session = {
      id = backup_last_id;
      stream = arg.stream;
      size = arg.size;
      chunk_size = arg.chunk_size;
      var hashes = 0;
      var checked = 0;
    };
    backup_session := ?session;
    #ok(backup_import(session));
  };

  public shared ({ caller }) func backup_import_hashes(
    arg : { session : Nat64; first : Nat64; hashes : [Blob] }
  ) : async Types.Answer<()> {
    if (not backup_permits(caller)) return #err(#unauthorized);
    let ?session = backup_open(arg.session) else return #err(#no_such_session);
    if (arg.first > session.hashes) {
      return #err(#incomplete { first_missing_hash = session.hashes });
    };
    let chunks = backup_chunks(session);
    let count = Prim.natToNat64(arg.hashes.size());
    if (count > chunks - arg.first) return #err(#out_of_range { size = chunks });
    for (hash in arg.hashes.values()) {
      if (hash.size() != 32) return #err(#not_supported("hashes of other than 32 bytes"));
    };
    let end = arg.first + count;
    if (not backup_grow(backup_hash_list, end * 32)) {
      return #err(#cannot_grow { wanted_pages = backup_pages(end * 32) });
    };
    var at = arg.first * 32;
    for (hash in arg.hashes.values()) {
      Prim.regionStoreBlob(backup_hash_list, at, hash);
      at += 32;
    };
    if (end > session.hashes) session.hashes := end;
    session.checked := backup_min(session.checked, arg.first);
    #ok;
  };

  public shared ({ caller }) func backup_import_write(
    arg : { session : Nat64; offset : Nat64; data : Blob }
  ) : async Types.Answer<()> {
    if (not backup_permits(caller)) return #err(#unauthorized);
    let ?session = backup_open(arg.session) else return #err(#no_such_session);
    let length = Prim.natToNat64(arg.data.size());
    let max = Prim.nat32ToNat64(backup_max_write);
    if (length > max) return #err(#too_large { max });
    if (arg.offset > session.size or length > session.size - arg.offset) {
      return #err(#out_of_range { size = session.size });
    };
    backup_store(backup_region(session.stream).region, arg.offset, arg.data);
    let chunk = arg.offset / Prim.nat32ToNat64(session.chunk_size);
    session.checked := backup_min(session.checked, chunk);
    #ok;
  };

  public shared ({ caller }) func backup_import_finish(
    arg : { session : Nat64 }
  ) : async Types.Answer<{ #done; #more : Nat64 }> {
    if (not backup_permits(caller)) return #err(#unauthorized);
    if (backup_finished == ?arg.session) return #ok(#done);
    let ?session = backup_open(arg.session) else return #err(#no_such_session);
    let chunks = backup_chunks(session);
    if (session.hashes < chunks) {
      return #err(#incomplete { first_missing_hash = session.hashes });
    };
    let region = backup_region(session.stream).region;
    let chunk = Prim.nat32ToNat64(session.chunk_size);
    while (session.checked < chunks) {
      let offset = session.checked * chunk;
      let hash = Sha256.ofRegion(region, offset, backup_min(chunk, session.size - offset));
      if (hash != Prim.regionLoadBlob(backup_hash_list, session.checked * 32, 32)) {
        return #err(#hash_mismatch { offset });
      };
      session.checked += 1;
      if (session.checked < chunks and Prim.performanceCounter(0) >= backup_update_budget) {
        return #ok(#more(session.size - session.checked * chunk));
      };
    };
    backup_take_up(session);
    #ok(#done);
  };

  public shared ({ caller }) func backup_import_abort(
    arg : { session : Nat64 }
  ) : async Types.Answer<()> {
    if (not backup_permits(caller)) return #err(#unauthorized);
    let ?session = backup_open(arg.session) else return #err(#no_such_session);
    backup_region(session.stream).size := 0;
    backup_session := null;
    #ok;
  };

  func backup_permits(caller : Principal) : Bool {
    let isAnonymous = Prim.blobOfPrincipal(caller) == "\04";
    not isAnonymous and (Prim.isController(caller) or isAllowed(caller));
  };

  func backup_tell() : Types.Info = {
    protocol = 1;
    kit = "motoko 0.1.0";
    canister_version = Prim.canisterVersion();
    streams = Prim.Array_tabulate<Types.Stream>(
      apps.size(),
      func(i) = { name = apps[i].name; kind = #app; size = backup_size(apps[i].name) },
    );
    max_read = backup_max_query;
    max_write = backup_max_write;
    import_session = switch (backup_session) {
      case null null;
      case (?session) ?backup_import(session);
    };
  };

  func backup_import(session : Types.Session) : Types.Import = {
    session = session.id;
    stream = session.stream;
    size = session.size;
    chunk_size = session.chunk_size;
    hashes_known = session.hashes;
  };

  // All is as it was sent: the app takes it, and the import is over.
  func backup_take_up(session : Types.Session) {
    let region = backup_region(session.stream).region;
    func read(offset : Nat, length : Nat) : Blob {
      if (Prim.natToNat64(offset + length) > session.size) Prim.trap("read beyond the import's end");
      backup_load(region, Prim.natToNat64(offset), length);
    };
    switch (backup_app(session.stream)) {
      case (?{ restore = ?restore }) restore(Prim.nat64ToNat(session.size), read);
      case _ Prim.trap("nothing takes an import of " # session.stream);
    };
    backup_session := null;
    backup_finished := ?session.id;
  };

  func backup_open(id : Nat64) : ?Types.Session {
    switch (backup_session) {
      case (?session) { if (session.id == id) ?session else null };
      case null null;
    };
  };

  func backup_chunks(session : Types.Session) : Nat64 {
    let chunk = Prim.nat32ToNat64(session.chunk_size);
    (session.size + chunk - 1) / chunk;
  };

  func backup_chunk_error(chunk_size : Nat32) : ?Types.Error {
    if (chunk_size > backup_max_chunk) {
      ?#too_large { max = Prim.nat32ToNat64(backup_max_chunk) };
    } else if (chunk_size < backup_min_chunk) {
      ?#not_supported("chunks of less than 4096 bytes");
    } else null;
  };

  func backup_app(name : Text) : ?Types.App {
    for (app in apps.values()) if (app.name == name) return ?app;
    null;
  };

  func backup_find(name : Text) : ?Types.Staged {
    for (staged in backup_staged.values()) if (staged.name == name) return ?staged;
    null;
  };

  func backup_size(name : Text) : Nat64 {
    switch (backup_find(name)) {
      case null 0;
      case (?staged) staged.size;
    };
  };

  // The stream's Region; a Region can't be given back, so each stream has one for ever.
  func backup_region(name : Text) : Types.Staged {
    switch (backup_find(name)) {
      case (?staged) staged;
      case null {
        let staged : Types.Staged = { name; region = Prim.regionNew(); var size = 0 };
        let old = backup_staged;
        backup_staged := Prim.Array_tabulate<Types.Staged>(
          old.size() + 1,
          func(i) = if (i < old.size()) old[i] else staged,
        );
        staged;
      };
    };
  };

  // The end of a Region is out of its bounds even when no bytes are read or written there.

  func backup_load(region : Region, offset : Nat64, length : Nat) : Blob {
    if (length == 0) "" else Prim.regionLoadBlob(region, offset, length);
  };

  func backup_store(region : Region, offset : Nat64, bytes : Blob) {
    if (bytes.size() > 0) Prim.regionStoreBlob(region, offset, bytes);
  };

  func backup_pages(size : Nat64) : Nat64 {
    size / backup_page + (if (size % backup_page == 0) 0 else 1);
  };

  func backup_grow(region : Region, size : Nat64) : Bool {
    let pages = backup_pages(size);
    let there = Prim.regionSize(region);
    pages <= there or Prim.regionGrow(region, pages - there) != 0xffff_ffff_ffff_ffff;
  };

  // What an earlier and longer copy left there is not part of this one.
  func backup_clear(region : Region, start : Nat64, end : Nat64) {
    let zeros = Prim.arrayToBlob(Prim.Array_tabulate<Nat8>(65_536, func(_) = 0));
    var at = start;
    while (end - at >= backup_page) {
      Prim.regionStoreBlob(region, at, zeros);
      at += backup_page;
    };
    while (at < end) {
      Prim.regionStoreNat8(region, at, 0);
      at += 1;
    };
  };

  func backup_min(a : Nat64, b : Nat64) : Nat64 = if (a < b) a else b;
};
