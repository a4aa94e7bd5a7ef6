package cloud

import (
	"fmt"
	"time"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/oic"
)

// operation is one row of the matrix: something that one may or may not do.
type operation int

// The operations.
const (
	opHealth       operation = iota // ask whether the cloud works, without any detail
	opSignUp                        // join an account with a pairing code
	opSignIn                        // sign in, refresh, sign off
	opPublish                       // publish links, send events, be reached
	opSee                           // see a device, its links and its presence
	opRead                          // read a resource, observe it
	opCommand                       // change a resource
	opSecurity                      // reach what a device's security rests on
	opRemoveDevice                  // take a device out of its account
	opEvents                        // read events and history
	opTrigger                       // have one's rules wait for events of a device
	opCommands                      // read what was commanded, by whom, and what came of it
	opSeeRules                      // read rules, and how they fired
	opWebhooks                      // register, list, try and remove webhooks
	opService                       // ask for a service of the owner
	opRules                         // make, change and remove rules
	opPair                          // make a pairing code
	opAudit                         // read the audit log
	opBrowsers                      // sign browsers in and out
	opTokens                        // make, list and revoke API tokens
	opShare                         // share devices, and accept what others share
	opPassword                      // set the password of an account
	opLogins                        // add, list and remove log-ins of an account
	opStream                        // send stanzas as an account
	opAccounts                      // list, create, lock and delete accounts
	opOperate                       // see how the server does
	opBackup                        // take a copy of all that is stored
	operations                      // how many there are
)

var operationNames = [operations]string{
	opHealth:       "health",
	opSignUp:       "sign up",
	opSignIn:       "sign in",
	opPublish:      "publish",
	opSee:          "see",
	opRead:         "read",
	opCommand:      "command",
	opSecurity:     "reach security resources",
	opRemoveDevice: "remove device",
	opEvents:       "read events",
	opTrigger:      "have rules wait for it",
	opCommands:     "read commands",
	opSeeRules:     "read rules",
	opRules:        "manage rules",
	opWebhooks:     "manage webhooks",
	opService:      "ask for a service",
	opPair:         "pair",
	opAudit:        "read the audit log",
	opBrowsers:     "sign browsers in and out",
	opTokens:       "manage tokens",
	opShare:        "share",
	opPassword:     "set password",
	opLogins:       "manage log-ins",
	opStream:       "open a stream",
	opAccounts:     "manage accounts",
	opOperate:      "see how the server does",
	opBackup:       "back up",
}

func (op operation) String() string {
	if op >= 0 && op < operations {
		return operationNames[op]
	}
	return fmt.Sprintf("operation %d", int(op))
}

// kind is one column of the matrix: what somebody is to the target.
type kind int

// The kinds. A person has one of other, viewer, member and owner, and admin
// beside it if he is one.
const (
	anonymous kind = iota
	self           // the device that is the target
	device         // any other device, of the same account or not
	other          // a person, and the target is of another account
	viewer         // a person with whom the target is shared, to see and read
	member         // a person with whom it is shared, to change what it does, too
	owner          // a person of the target's account
	admin          // whoever manages accounts
	kinds          // how many there are
)

// row is who may do an operation.
type row [kinds]bool

// matrix is who may do what. What is not here is denied.
//
// An admin manages accounts and may see and remove devices, but gets at
// nobody's data, except with a backup.
var matrix = [operations]row{
	opHealth:       {anonymous: true, self: true, device: true, other: true, viewer: true, member: true, owner: true, admin: true},
	opSignUp:       {anonymous: true},
	opSignIn:       {self: true},
	opPublish:      {self: true},
	opSee:          {self: true, viewer: true, member: true, owner: true, admin: true},
	opRead:         {self: true, viewer: true, member: true, owner: true},
	opCommand:      {member: true, owner: true},
	opSecurity:     {},
	opRemoveDevice: {owner: true, admin: true},
	opEvents:       {viewer: true, member: true, owner: true},
	opTrigger:      {viewer: true, member: true, owner: true},
	opCommands:     {viewer: true, member: true, owner: true},
	opSeeRules:     {owner: true},
	opRules:        {owner: true},
	opWebhooks:     {owner: true},
	opService:      {self: true},
	opPair:         {owner: true},
	opAudit:        {owner: true, admin: true},
	opBrowsers:     {owner: true},
	opTokens:       {owner: true},
	opShare:        {owner: true},
	opPassword:     {owner: true, admin: true},
	opLogins:       {owner: true, admin: true},
	opStream:       {owner: true},
	opAccounts:     {admin: true},
	opOperate:      {admin: true},
	opBackup:       {admin: true},
}

// scopes is what a token must have been made for, for each operation. What is
// not here needs oic.ScopeAdmin.
var scopes = [operations]oic.Scope{
	opHealth:   oic.ScopeRead,
	opSee:      oic.ScopeRead,
	opRead:     oic.ScopeRead,
	opEvents:   oic.ScopeRead,
	opTrigger:  oic.ScopeRead,
	opCommands: oic.ScopeRead,
	opSeeRules: oic.ScopeRead,
	opOperate:  oic.ScopeRead,
	opCommand:  oic.ScopeCommand,
}

// target is what an operation is done to: a device or an account. The zero
// target is the cloud itself.
type target struct {
	device  string // di
	account string // if device is ""
}

// authorize is the one place of authorization: it says whether who may do op
// to t with the state of this moment, and if so until when at most (zero: as
// long as nothing changes).
//
// A refusal is 4.01 to somebody who has not proved who he is or whose proof no
// longer holds; 4.04 if the target is a device that is not there, or that he
// may not even see; else 4.03, which names the scope that is needed if his token lacks only that.
func (c *Cloud) authorize(who oic.Identity, op operation, t target) error {
	_, err := c.allowed(who, op, t, time.Now())
	return err
}

func (c *Cloud) allowed(who oic.Identity, op operation, t target, now time.Time) (until time.Time, err error) {
	if !who.Anonymous() {
		var ok bool
		if until, ok = c.accounts.Valid(who, now); !ok {
			return until, errEnded(until)
		}
	}
	known := true
	if t.device != "" {
		var dev directory.Device
		dev, known = c.directory.Get(t.device)
		t.account = dev.Account // "" if there is none: then it is nobody's
		if dev.ID != "" && dev.Via == "" && account.StandsIn(who) {
			return until, errStoodIn
		}
	}
	switch {
	case c.may(who, op, t):
		return until, inScope(who, op)
	case who.Anonymous():
		return until, oic.Errorf(oic.Unauthorized, "login required")
	case !known || t.device != "" && !c.may(who, opSee, t):
		return until, errNoDevice
	}
	return until, oic.Errorf(oic.Forbidden, "not allowed to %s", op)
}

// errEnded says why a login does not hold, which would have until then.
func errEnded(until time.Time) error {
	if until.IsZero() {
		return oic.Errorf(oic.Unauthorized, "the login no longer holds")
	}
	return oic.Errorf(oic.Unauthorized, "the token has expired at %s", until.UTC().Format(time.RFC3339))
}

// errStoodIn refuses who tells of a device that speaks for itself by now.
var errStoodIn = oic.Errorf(oic.Conflict, "the device has joined by itself")

var errNoDevice = oic.Errorf(oic.NotFound, "no such device")

// inScope refuses what the credential of who was not made for.
func inScope(who oic.Identity, op operation) error {
	if needed := scopes[op]; !who.Scope.Allows(needed) {
		return oic.Errorf(oic.Forbidden, "the token is for %s only: to %s needs one with scope %s", who.Scope, op, needed)
	}
	return nil
}

// may looks up the matrix. who holds and t.account is resolved.
func (c *Cloud) may(who oic.Identity, op operation, t target) bool {
	if op < 0 || op >= operations {
		return false
	}
	return matrix[op][c.kindOf(who, t)] || who.Admin && who.Device == "" && matrix[op][admin]
}

// kindOf says what who is to t, apart from being an admin.
func (c *Cloud) kindOf(who oic.Identity, t target) kind {
	switch {
	case who.Anonymous():
		return anonymous
	case who.Device != "" && who.Device == t.device && who.Account == t.account:
		return self
	case who.Device != "":
		return device
	}
	return kindOfRole[c.accounts.Role(who.Account, t.account, t.device)]
}

// kindOfRole is the column of a person.
var kindOfRole = [...]kind{account.Nobody: other, account.Viewer: viewer, account.Member: member, account.Owner: owner}
