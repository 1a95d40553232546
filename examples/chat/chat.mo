// A chat whose messages live in the canister's memory, and whose clean-up has a bug: the kind of
// canister that wants a snapshot before every upgrade.
import Prim "mo:⛔";

persistent actor Chat {
  type Messages = ?(Text, Messages);

  // The newest message first.
  var messages : Messages = null;
  var count : Nat = 0;

  // Adds a message and returns how many there are.
  public func append(message : Text) : async Nat {
    messages := ?(message, messages);
    count += 1;
    count;
  };

  // All messages, the oldest first.
  public query func dump() : async [Text] {
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

  // Was meant to keep every message that is not spam. It keeps those that are.
  public func remove_spam() : async Nat {
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
