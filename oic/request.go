package oic

// Op is what a request asks for: the C, R, U and D of CRUDN. N, Notify, is
// Retrieve by way of an Observer.
type Op uint8

// The operations. A whole and a partial update are told apart because every
// wire does so (PUT and POST) and devices answer them differently.
const (
	Retrieve Op = iota // GET
	Update             // POST: change the properties in the body
	Replace            // PUT: the body is the whole new representation
	Create             // POST to a collection with if=oic.if.create
	Delete             // DELETE
)

var opNames = [...]string{"retrieve", "update", "replace", "create", "delete"}

func (op Op) String() string {
	if int(op) < len(opNames) {
		return opNames[op]
	}
	return "op?"
}

// Request asks one thing of one resource.
type Request struct {
	Op     Op
	Href   string        // path and query on the device: "/a/light?if=oic.if.baseline"
	From   Identity      // who asks; set by the binding from what the connection proved
	Accept ContentFormat // wanted in the answer; NoFormat: whatever the device prefers
	Format ContentFormat // of Body
	Body   []byte

	// Group says that others hear the request too. Who has nothing to tell
	// answers with a *StatusError, which bindings keep to themselves.
	Group bool

	// Whole says that notifications can be lost on the way: each has to hold
	// all that there is, those of a batch too.
	Whole bool

	// Reached is where the asker finds this host, as far as the binding knows:
	// what links say of it. None: where the answer comes from.
	Reached []Endpoint
}

// Response answers a Request. It always tells of success: a refusal is a
// *StatusError.
type Response struct {
	Status   Status        // Created, Deleted, Valid, Changed or Content
	Format   ContentFormat // of Body
	Body     []byte
	Location string // after Create: the href of the new resource

	// Last says, in a call of Observe's each, that no change of the resource
	// will be reported after this: it cannot be observed.
	Last bool
}

// Identity is who asks, as the connection proved it: by a certificate, a
// session token or an address stamped by a server. Nothing in a message can
// set it. The zero Identity is anonymous.
type Identity struct {
	Account string // the account that the asker belongs to
	Device  string // the di, if the asker is a device
	Admin   bool   // may manage accounts
	Owner   bool   // owns the very device that is asked, and is near it: set by that device's own binding

	// Credential names the token or grant that proved it, and is not itself a
	// secret: what is revoked ends what it opened. It is empty inside the
	// process.
	Credential string

	// Token is the id of the API token that proved it, and Name how its owner
	// calls that; empty without one. Scope is what the token was made for.
	Token, Name string
	Scope       Scope
}

// Anonymous reports whether nothing was proved.
func (id Identity) Anonymous() bool { return id == Identity{} }
