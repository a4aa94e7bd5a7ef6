package account

import "github.com/farreach/farreach/oic"

// StandIn is the identity of the device di of the account name, of which somebody
// in this process tells who reaches it: it has nothing to show itself. It holds as
// long as the account.
func StandIn(name, di string) oic.Identity {
	return oic.Identity{Account: name, Device: di, Credential: byOther + di}
}

// StandsIn reports whether who is of StandIn.
func StandsIn(who oic.Identity) bool {
	kind, _ := cutCredential(who.Credential)
	return kind == byOther
}
