// The chat of examples/chat with the backup kit: its messages are exported and imported while it runs.
import Prim "mo:⛔";
import Backup "../../dfx_backup/kit/motoko/Backup";

persistent actor Chat {
  type Messages = ?(Text, Messages);

  // The newest message first.
  var messages : Messages = null;
  var count : Nat = 0;

  func inOrder() : [Text] {
    var rest = messages;
    let result = Prim.Array_init<Text>(count, "");
    var i = count;
    loop {
      switch rest {
        case null { return Prim.Array_tabulate<Text>(count, func(j) = result[j]) };
        case (?(message, older)) {
          i -= 1;
          result[i] := message;
          rest := older;
        };
      };
    };
  };

  // The kit: one stream, nobody but the controllers. `include` stands below what it names.

  func save(write : Blob -> ()) { write(to_candid (inOrder())) };

  func restore(size : Nat, read : (Nat, Nat) -> Blob) {
    let ?saved : ?[Text] = from_candid (read(0, size)) else Prim.trap("these are no messages");
    messages := null;
    for (message in saved.values()) messages := ?(message, messages);
    count := saved.size();
  };

  include Backup(func _ = false, [{ name = "messages"; dump = save; restore = ?restore }]);

  func refuseDuringImport() {
    if (backup_is_importing()) Prim.trap("messages are being imported");
  };

  // The app.

  // Adds a message and returns how many there are.
  public func append(message : Text) : async Nat {
    refuseDuringImport();
    messages := ?(message, messages);
    count += 1;
    count;
  };

  // All messages, the oldest first.
  public query func dump() : async [Text] { inOrder() };

  // Was meant to keep every message that is not spam. It keeps those that are.
  public func remove_spam() : async Nat {
    refuseDuringImport();
    var rest = messages;
    messages := null;
    count := 0;
    loop {
      switch rest {
        case null { return count };
        case (?(message, older)) {
          if (message == "spam") {
            messages := ?(message, messages);
            count += 1;
          };
          rest := older;
        };
      };
    };
  };
};
