// What goes over the wire, as in backup.did, and what an app tells of its streams.
module {
  // Everything that the app wants to have back, under a name.
  //
  // `dump` hands its bytes over, in one piece or in many; it runs in `backup_stage` only.
  // `restore` gets the size of an import and a function that reads so many bytes at an offset, once
  // all hashes were right. When it traps, nothing has happened. Without it there are no imports.
  public type App = {
    name : Text;
    dump : (write : Blob -> ()) -> ();
    restore : ?((size : Nat, read : (offset : Nat, length : Nat) -> Blob) -> ());
  };

  // The bytes of a stream as they were staged, or as an import wrote them.
  public type Staged = {
    name : Text;
    region : Region;
    var size : Nat64;
  };

  // An import that is under way; its hashes stand in a Region of their own.
  public type Session = {
    id : Nat64;
    stream : Text;
    size : Nat64;
    chunk_size : Nat32;
    var hashes : Nat64;
    var checked : Nat64;
  };

  public type Stream = {
    name : Text;
    kind : { #stable_memory; #virtual_memory : Nat8; #app };
    size : Nat64;
  };
  public type Import = {
    session : Nat64;
    stream : Text;
    size : Nat64;
    chunk_size : Nat32;
    hashes_known : Nat64;
  };
  public type Info = {
    protocol : Nat16;
    kit : Text;
    canister_version : Nat64;
    streams : [Stream];
    max_read : Nat32;
    max_write : Nat32;
    import_session : ?Import;
  };
  public type Hashes = {
    canister_version : Nat64;
    size : Nat64;
    hashes : [Blob];
  };
  public type Error = {
    #unauthorized;
    #unknown_stream : Text;
    #out_of_range : { size : Nat64 };
    #too_large : { max : Nat64 };
    #import_in_progress : Import;
    #no_such_session;
    #hash_mismatch : { offset : Nat64 };
    #incomplete : { first_missing_hash : Nat64 };
    #cannot_grow : { wanted_pages : Nat64 };
    #not_supported : Text;
  };
  public type Answer<T> = { #ok : T; #err : Error };
};
