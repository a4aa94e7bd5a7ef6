package cloud

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/audit"
	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloud/rule"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// table is who may do what, as people agreed on it: "y" yes, "-" no. Each row
// is about the account home or its device lamp, which guest may view, and whose
// member partner is. It is written down a second time, apart from the code, on
// purpose.
const table = `
                         anonymous  lamp  door  shed  barn  guest  partner  home  office  operator
Ready                        y       y     y     y     y      y       y      y      y        y
SignUp                       y       -     -     -     -      -       -      -      -        -
SignOff                      -       y     -     -     -      -       -      -      -        -
Publish                      -       y     -     -     -      -       -      -      -        -
Unpublish                    -       y     -     -     -      -       -      -      -        -
Attach                       -       y     -     -     -      -       -      -      -        -
AttachSpare                  -       y     -     -     -      -       -      -      -        -
Amend                        -       y     -     -     -      -       -      -      -        -
Report                       -       y     -     -     -      -       -      -      -        -
Event                        -       y     -     -     -      -       -      -      -        -
DeviceInfo                   -       y     -     -     -      y       y      y      y        y
Device                       -       y     -     -     -      y       y      y      y        y
Device.Retrieve              -       y     -     -     -      y       y      y      -        -
Device.Observe               -       y     -     -     -      y       y      y      -        -
Device.Update                -       -     -     -     -      -       y      y      -        -
Device.Replace               -       -     -     -     -      -       y      y      -        -
Device.Create                -       -     -     -     -      -       y      y      -        -
Device.Delete                -       -     -     -     -      -       y      y      -        -
Device.Security              -       -     -     -     -      -       -      -      -        -
Send                         -       -     -     -     -      -       y      y      -        -
State                        -       y     -     -     -      y       y      y      -        -
Why                          -       -     -     -     -      y       y      y      -        -
Rule.Wait                    -       -     -     -     -      y       y      y      -        -
Rule.Command                 -       -     -     -     -      -       y      y      -        -
DeleteDevice                 -       -     -     -     -      -       -      y      y        y
Accounts                     -       -     -     -     -      -       -      -      y        y
CreateAccount                -       -     -     -     -      -       -      -      y        y
LockAccount                  -       -     -     -     -      -       -      -      y        y
DeleteAccount                -       -     -     -     -      -       -      -      y        y
Audit                        -       -     -     -     -      -       -      y      y        y
SetPassword                  -       -     -     -     -      -       -      y      y        y
NewLogin                     -       -     -     -     -      -       -      y      y        y
Logins                       -       -     -     -     -      -       -      y      y        y
RemoveLogin                  -       -     -     -     -      -       -      y      y        y
Census                       -       -     -     -     -      -       -      -      y        y
Nodes                        -       -     -     -     -      -       -      -      y        y
WebhookCounts                -       -     -     -     -      -       -      -      y        y
Backup                       -       -     -     -     -      -       -      -      y        y
StoreReady                   -       -     -     -     -      -       -      -      y        y
MayBackup                    -       -     -     -     -      -       -      -      y        y
`

// aboutOwn are the methods that are about the asker's own account or device:
// nobody can even name another's. "y" for whom they are there at all.
const aboutOwn = `
                         anonymous  lamp  door  shed  barn  guest  partner  home  office  operator
Inventory                    -       y     y     y     y      y       y      y      y        y
Devices                      -       y     y     y     y      y       y      y      y        y
NewPairingCode               -       -     -     -     y      y       y      y      y        -
NewSignInLink                -       -     -     -     y      y       y      y      y        -
SignOut                      -       -     -     -     y      y       y      y      y        -
NewToken                     -       -     -     -     y      y       y      y      y        -
Tokens                       -       -     -     -     y      y       y      y      y        -
RevokeToken                  -       -     -     -     y      y       y      y      y        -
Events                       -       -     -     -     y      y       y      y      y        -
EventSeries                  -       -     -     -     y      y       y      y      y        -
FollowEvents                 -       -     -     -     y      y       y      y      y        -
AllEvents                    -       -     -     -     y      y       y      y      y        -
FollowNews                   -       -     -     -     y      y       y      y      y        -
NewestEvent                  -       -     -     -     y      y       y      y      y        -
States                       -       -     -     -     y      y       y      y      y        -
Commands                     -       -     -     -     y      y       y      y      y        -
Command                      -       -     -     -     y      y       y      y      y        -
CancelCommand                -       -     -     -     y      y       y      y      y        -
AddWebhook                   -       -     -     -     y      y       y      y      y        -
Webhooks                     -       -     -     -     y      y       y      y      y        -
RemoveWebhook                -       -     -     -     y      y       y      y      y        -
TryWebhook                   -       -     -     -     y      y       y      y      y        -
Webhook                      -       -     -     -     y      y       y      y      y        -
Deliveries                   -       -     -     -     y      y       y      y      y        -
Delivery                     -       -     -     -     y      y       y      y      y        -
WhyDelivery                  -       -     -     -     y      y       y      y      y        -
RetryWebhook                 -       -     -     -     y      y       y      y      y        -
RetryDelivery                -       -     -     -     y      y       y      y      y        -
FollowCommands               -       -     -     -     y      y       y      y      y        -
Rules                        -       -     -     -     y      y       y      y      y        -
Rule                         -       -     -     -     y      y       y      y      y        -
RuleRuns                     -       -     -     -     y      y       y      y      y        -
RuleRevisions                -       -     -     -     y      y       y      y      y        -
AddRule                      -       -     -     -     y      y       y      y      y        -
ChangeRule                   -       -     -     -     y      y       y      y      y        -
RemoveRule                   -       -     -     -     y      y       y      y      y        -
MayTestRules                 -       -     -     -     y      y       y      y      y        -
TestRule                     -       -     -     -     y      y       y      y      y        -
WatchPresence                -       y     y     y     y      y       y      y      y        y
NewShare                     -       -     -     -     y      y       y      y      y        -
Shares                       -       -     -     -     y      y       y      y      y        -
AcceptShare                  -       -     -     -     y      y       y      y      y        -
EndShare                     -       -     -     -     y      y       y      y      y        -
`

// proofs are the methods that prove who somebody is, or say it to parts of this
// process, and the end of the process.
var proofs = []string{"Adopt", "Resident", "Login", "BeginLogIn", "AccountSince", "Authenticate", "Bearer", "Browser", "FollowLink", "LoginBrowser", "SignIn", "Refresh", "Leave", "Close"}

// aboutDevice says which rows are about a device, whose existence is private.
func aboutDevice(row string) bool {
	switch row {
	case "Publish", "Unpublish", "DeviceInfo", "DeleteDevice", "Send", "State", "Why":
		return true
	}
	return strings.HasPrefix(row, "Device.") || strings.HasPrefix(row, "Rule.") || row == "Device"
}

// do is one row: it does the operation as who.
func (w *world) do(ctx context.Context, row string, who oic.Identity) error {
	switch row {
	case "Ready":
		return w.Ready(ctx)
	case "SignUp":
		_, err := w.SignUp(ctx, cloudlink.SignUp{Device: fresh, Code: w.code("home"), From: who})
		return err
	case "SignOff":
		if who.Device != "" && who.Device != lamp {
			return w.authorize(who, opSignIn, target{device: lamp}) // the method is about the asker alone
		}
		return w.SignOff(ctx, who)
	case "Publish":
		_, err := w.Publish(ctx, who, cloudlink.Publication{Device: lamp, Links: []oic.Link{{Href: "/a/new"}}})
		return err
	case "Unpublish":
		return w.Unpublish(ctx, who, lamp, nil)
	case "Attach", "AttachSpare", "Amend", "Report", "Event":
		return w.doConnected(ctx, row, who)
	case "DeviceInfo":
		_, err := w.DeviceInfo(ctx, who, lamp)
		return err
	case "DeleteDevice":
		return w.DeleteDevice(ctx, who, lamp)
	case "Why":
		_, err := w.Why(ctx, who, lamp, "/a/light", time.Time{})
		return err
	case "Rule.Wait":
		return w.authorize(who, opTrigger, target{device: lamp})
	case "Rule.Command":
		return w.authorize(who, opCommand, target{device: lamp})
	case "State":
		_, err := w.State(ctx, who, lamp, "/a/light")
		return err
	case "Send":
		_, _, err := w.Send(ctx, who, Order{Device: lamp, Request: oic.Request{Op: oic.Update, Href: "/a/light"}})
		return err
	}
	if strings.HasPrefix(row, "Device") && row != "Devices" {
		return w.doDevice(ctx, row, who)
	}
	return w.doPeople(ctx, row, who)
}

func (w *world) doConnected(ctx context.Context, row string, who oic.Identity) error {
	if who.Device != "" && who.Device != lamp {
		return w.authorize(who, opPublish, target{device: lamp}) // the methods are about the asker alone
	}
	if row == "Event" {
		return w.Event(ctx, who, "/a/light", &oic.Response{Status: oic.Content})
	}
	if row == "Report" {
		return w.tell(who, "/a/light", &oic.Response{Status: oic.Content})
	}
	s := &thing{closed: make(chan string, 8)}
	var detach func()
	var err error
	switch row {
	case "Amend":
		_, err = w.Amend(ctx, who, cloudlink.Publication{})
		return unlessConflict(err)
	case "AttachSpare":
		detach, err = w.AttachSpare(ctx, who, s)
		err = unlessConflict(err)
	default:
		detach, _, err = w.Attach(ctx, who, s)
	}
	if detach != nil {
		detach()
	}
	return err
}

// unlessConflict is err, but for one that says that the lamp speaks for itself: who
// is told that might have done it.
func unlessConflict(err error) error {
	if status, _ := oic.StatusOf(err); status == oic.Conflict {
		return nil
	}
	return err
}

func (w *world) doDevice(ctx context.Context, row string, who oic.Identity) error {
	way, err := w.Device(ctx, who, lamp)
	if row == "Device" {
		return err
	}
	if err != nil { // asked all the same, as one who got the way when he could
		way = &way2{w.Cloud, who}
	}
	req := &oic.Request{Href: "/a/light", From: who}
	switch row {
	case "Device.Observe":
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		seen := false
		err := way.Observe(ctx, req, func(*oic.Response) { seen = true; cancel() })
		if seen {
			return nil
		}
		return err
	case "Device.Update":
		req.Op = oic.Update
	case "Device.Replace":
		req.Op = oic.Replace
	case "Device.Create":
		req.Op = oic.Create
	case "Device.Delete":
		req.Op = oic.Delete
	case "Device.Security":
		req.Href = "/oic/sec/doxm"
	}
	_, err = way.Handle(ctx, req)
	return err
}

// way2 makes a way without asking whether it may be had.
type way2 struct {
	c   *Cloud
	who oic.Identity
}

func (w *way2) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	return (&way{w.c, w.who, lamp}).Handle(ctx, req)
}

func (w *way2) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	return (&way{w.c, w.who, lamp}).Observe(ctx, req, each)
}

func (w *world) doPeople(ctx context.Context, row string, who oic.Identity) (err error) {
	switch row {
	case "Accounts":
		_, err = w.Accounts(ctx, who)
	case "CreateAccount":
		_, err = w.CreateAccount(ctx, who, "stable", password, false)
	case "LockAccount":
		err = w.LockAccount(ctx, who, "home", false)
	case "DeleteAccount":
		err = w.DeleteAccount(ctx, who, "home")
	case "SetPassword":
		err = w.SetPassword(ctx, who, "home", password)
	case "NewLogin":
		_, _, err = w.NewLogin(ctx, who, "home", secret.ID(), "OIC/1.0/*/"+lamp)
	case "Logins":
		_, err = w.Logins(ctx, who, "home")
	case "RemoveLogin":
		if err = w.RemoveLogin(ctx, who, "home", "no such"); fmt.Sprint(err) == "4.04 Not Found: no such log-in" {
			err = nil
		}
	case "Census":
		_, err = w.Census(ctx, who)
	case "Nodes":
		_, _, err = w.Nodes(ctx, who)
	case "WebhookCounts":
		_, err = w.WebhookCounts(ctx, who)
	case "Backup":
		err = w.Backup(ctx, who, func(store.Part) error { return nil })
	case "Audit":
		_, err = w.Audit(ctx, who, audit.Filter{Account: "home"})
	case "NewShare":
		_, err = w.NewShare(ctx, who, "", "other", account.Viewer)
	case "Shares":
		_, _, err = w.Shares(ctx, who)
	case "AcceptShare":
		if _, err = w.AcceptShare(ctx, who, "no such"); fmt.Sprint(err) == "4.04 Not Found: no such share" {
			err = nil
		}
	case "EndShare":
		if err = w.EndShare(ctx, who, "no such"); fmt.Sprint(err) == "4.04 Not Found: no such share" {
			err = nil
		}
	case "MayBackup":
		err = w.MayBackup(ctx, who)
	case "StoreReady":
		err = w.StoreReady(ctx, who)
	case "Inventory":
		_, err = w.Inventory(ctx, who)
	case "Devices":
		_, err = w.Devices(ctx, who)
	case "NewPairingCode":
		_, _, err = w.NewPairingCode(ctx, who)
	case "NewSignInLink":
		_, _, err = w.NewSignInLink(ctx, who)
	case "SignOut":
		err = w.SignOut(ctx, who, false)
	case "NewToken":
		_, _, err = w.NewToken(ctx, who, "", oic.ScopeAdmin, 0)
	case "Tokens":
		_, err = w.Tokens(ctx, who)
	case "RevokeToken":
		if err = w.RevokeToken(ctx, who, "no such"); fmt.Sprint(err) == "4.04 Not Found: no such token" {
			err = nil
		}
	case "Events":
		err = w.Events(ctx, who, event.Filter{}, func(event.Event) bool { return false })
	case "EventSeries":
		_, err = w.EventSeries(ctx, who, event.Filter{Device: lamp, Href: "/a/light"}, "value", 1)
	case "AllEvents":
		err = w.AllEvents(ctx, who, event.Filter{}, func(event.Event) bool { return false })
	case "NewestEvent":
		_, err = w.NewestEvent(ctx, who)
	case "States":
		err = w.States(ctx, who, func(event.Event) bool { return false })
	case "FollowNews":
		err = w.FollowNews(ctx, who, event.Filter{From: 1}, 0, func(event.News) error { return errStop })
		if err == errStop {
			err = nil
		}
	case "FollowEvents":
		err = w.FollowEvents(ctx, who, event.Filter{From: 1}, func(event.Event) error { return errStop })
		if err == errStop {
			err = nil
		}
	case "Commands":
		_, err = w.Commands(ctx, who, command.Filter{})
	case "Command":
		if _, err = w.Command(ctx, who, noCommand); fmt.Sprint(err) == "4.04 Not Found: no such command" {
			err = nil
		}
	case "AddWebhook":
		if _, err = w.AddWebhook(ctx, who, "", ""); err != nil && strings.HasPrefix(err.Error(), "4.00 ") {
			err = nil
		}
	case "Webhooks":
		_, err = w.Webhooks(ctx, who)
	case "RemoveWebhook", "TryWebhook", "Webhook", "Deliveries", "Delivery", "WhyDelivery", "RetryWebhook", "RetryDelivery":
		switch row {
		case "RemoveWebhook":
			err = w.RemoveWebhook(ctx, who, "none")
		case "TryWebhook":
			_, err = w.TryWebhook(ctx, who, "none")
		case "Webhook":
			_, err = w.Webhook(ctx, who, "none")
		case "Deliveries":
			_, err = w.Deliveries(ctx, who, "none", "", 1)
		case "Delivery":
			_, err = w.Delivery(ctx, who, "none", "none")
		case "WhyDelivery":
			_, err = w.WhyDelivery(ctx, who, "none", "none")
		case "RetryWebhook":
			err = w.RetryWebhook(ctx, who, "none")
		case "RetryDelivery":
			_, err = w.RetryDelivery(ctx, who, "none", "none")
		}
		if fmt.Sprint(err) == "4.04 Not Found: no such webhook" {
			err = nil
		}
	case "FollowCommands":
		ctx, cancel := context.WithCancel(ctx)
		err = w.FollowCommands(ctx, who, "", 0, cancel, func(uint64, command.Command) error { return nil })
		if cancel(); err == context.Canceled {
			err = nil
		}
	case "CancelCommand":
		if _, err = w.CancelCommand(ctx, who, noCommand); fmt.Sprint(err) == "4.04 Not Found: no such command" {
			err = nil
		}
	case "Rules":
		_, err = w.Rules(ctx, who)
	case "Rule", "RuleRuns", "RuleRevisions", "ChangeRule", "RemoveRule":
		if err = w.doRule(ctx, row, who); fmt.Sprint(err) == "4.04 Not Found: no such rule" {
			err = nil
		}
	case "MayTestRules":
		err = w.MayTestRules(ctx, who)
	case "AddRule":
		_, err = w.AddRule(ctx, who, rule.Document{})
		if strings.HasPrefix(fmt.Sprint(err), "4.00 Bad Request: name: is missing") {
			err = nil
		}
	case "TestRule":
		_, err = w.TestRule(ctx, who, rule.Document{}, time.Now(), time.Now(), nil)
		if strings.HasPrefix(fmt.Sprint(err), "4.00 Bad Request: name: is missing") {
			err = nil
		}
	case "WatchPresence":
		ctx, cancel := context.WithCancel(ctx)
		cancel() // what is there now will do
		if err = w.WatchPresence(ctx, who, PresenceWatch{Each: func(DeviceInfo) error { return errStop }}); err == errStop || err == context.Canceled {
			err = nil
		}
	default:
		w.t.Fatalf("no test does %s", row)
	}
	return err
}

func (w *world) doRule(ctx context.Context, row string, who oic.Identity) (err error) {
	switch row {
	case "Rule":
		_, err = w.Rule(ctx, who, "none")
	case "RuleRuns":
		_, err = w.RuleRuns(ctx, who, "none", 1)
	case "RuleRevisions":
		_, err = w.RuleRevisions(ctx, who, "none")
	case "ChangeRule":
		_, err = w.ChangeRule(ctx, who, "none", 0, func(*rule.Document) error { return nil })
	case "RemoveRule":
		err = w.RemoveRule(ctx, who, "none", 0)
	}
	return err
}

// noCommand is the id of a command that nobody has made.
var noCommand = command.NewID(time.Now(), "no such")

// who returns the principal of a column.
func (w *world) who(column string) (who oic.Identity) {
	switch column {
	case "anonymous":
	case "lamp":
		who = w.lamp
	case "door":
		who = w.door
	case "shed":
		who = w.shed
	case "operator":
		who = operator
	default:
		if who = w.people[column]; who.Anonymous() {
			_, who = w.token(column, 0)
			w.people[column] = who
		}
	}
	return who
}

// cell is one cell of a table.
type cell struct {
	row, column string
	yes         bool
}

func cells(t *testing.T, table string) (list []cell) {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	columns := strings.Fields(lines[0])
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) != len(columns)+1 {
			t.Fatalf("bad row: %s", line)
		}
		for i, mark := range f[1:] {
			list = append(list, cell{f[0], columns[i], mark == "y"})
		}
	}
	return list
}

// TestMatrix does each operation as each principal (threats section 6).
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	w.report("/a/light", 0xf4)
	for _, c := range append(cells(t, table), cells(t, aboutOwn)...) {
		if c.yes { // may have changed the world
			continue
		}
		t.Run(c.row+"/"+c.column, func(t *testing.T) {
			w.t = t
			want := oic.Forbidden
			switch {
			case c.column == "anonymous":
				want = oic.Unauthorized
			case aboutDevice(c.row) && (c.column == "door" || c.column == "shed" || c.column == "barn"):
				want = oic.NotFound
			case slices.Contains([]string{"Attach", "AttachSpare", "Amend", "Report", "Event", "SignOff"}, c.row) && (c.column == "door" || c.column == "shed"):
				want = oic.NotFound
			}
			before := len(w.thing.asked())
			w.status("denied", w.do(t.Context(), c.row, w.who(c.column)), want)
			if asked := w.thing.asked(); len(asked) != before {
				t.Errorf("the device was asked: %+v", asked[before:])
			}
		})
	}
	for _, c := range append(cells(t, table), cells(t, aboutOwn)...) {
		if !c.yes {
			continue
		}
		t.Run(c.row+"/"+c.column, func(t *testing.T) {
			w := w
			if w.t = t; changes(c.row) {
				w = newWorld(t)
			}
			if slices.Contains([]string{"Events", "AllEvents", "FollowEvents", "FollowNews"}, c.row) {
				_, err := w.events.Append(t.Context(), event.Event{Account: c.column, Device: lamp, Href: "/a/light"})
				w.must(err)
			}
			if err := w.do(t.Context(), c.row, w.who(c.column)); err != nil {
				t.Errorf("denied: %v", err)
			}
		})
	}
}

// changes reports whether a row changes the world for those that follow.
func changes(row string) bool {
	switch row {
	case "SignUp", "SignOff", "Unpublish", "Attach", "DeleteDevice", "CreateAccount", "DeleteAccount", "SetPassword":
		return true
	}
	return false
}

// TestEveryMethodHasARow: threats rule 5.
func TestEveryMethodHasARow(t *testing.T) {
	known := map[string]bool{}
	for _, name := range proofs {
		known[name] = true
	}
	for _, c := range append(cells(t, table), cells(t, aboutOwn)...) {
		known[c.row] = true
	}
	typ := reflect.TypeFor[*Cloud]()
	for m := range typ.Methods() {
		if !known[m.Name] {
			t.Errorf("Cloud.%s has no row in the matrix", m.Name)
		}
	}
	for op := range operations {
		if op.String() == "" {
			t.Errorf("operation %d has no name", int(op))
		}
	}
}

// TestMatrixDeniesByDefault: what is not in the matrix is denied to all.
func TestMatrixDeniesByDefault(t *testing.T) {
	w := newWorld(t)
	for _, op := range []operation{-1, operations, operations + 100} {
		for _, column := range []string{"lamp", "home", "partner", "office", "operator"} {
			if err := w.authorize(w.who(column), op, target{device: lamp}); err == nil {
				t.Errorf("%s may do %v", column, op)
			}
		}
	}
}

// TestNoSuchDevice: who may see every device, as an admin, is told that there
// is none, rather than that he may not ask it.
func TestNoSuchDevice(t *testing.T) {
	w := newWorld(t)
	for _, column := range []string{"home", "office", "operator"} {
		for _, op := range []operation{opRead, opCommand, opEvents, opCommands, opTrigger, opShare} {
			w.status(column+" "+op.String(), w.authorize(w.who(column), op, target{device: "9e0b1d2c-0000-4000-8000-000000000000"}), oic.NotFound)
		}
	}
}

// TestStaleCredentials does each row with identities whose proof no longer
// holds: 4.01 each.
func TestStaleCredentials(t *testing.T) {
	w := newWorld(t)
	stale := map[string]oic.Identity{}

	_, stale["expired token"] = w.token("home", 3*time.Second) // it must be known before it expires
	<-time.After(time.Until(expiryOf(w, "home")))

	_, stale["revoked token"] = w.token("home", 0)
	w.must(w.RevokeToken(t.Context(), oic.Identity{Account: "home"}, w.tokenIDs("home")[0]))

	_, stale["token of a deleted account"] = w.token("barn", 0)
	stale["device of a deleted account"] = w.shed
	w.must(w.DeleteAccount(t.Context(), operator, "barn"))

	again := w.join("home", door)
	stale["revoked grant"], w.door = w.door, again

	forged := w.lamp
	forged.Credential = w.door.Credential
	stale["another device's grant"] = forged
	_, forged = w.token("office", 0)
	forged.Account = "home"
	stale["another account's token"] = forged
	_, forged = w.token("home", 0)
	forged.Admin = true
	stale["a token with more rights than its account"] = forged
	_, forged = w.token("home", 0)
	forged.Device = lamp
	stale["a person's token as a device"] = forged

	for name, who := range stale {
		for _, c := range append(cells(t, table), cells(t, aboutOwn)...) {
			if c.column == "anonymous" && c.row != "Ready" {
				t.Run(name+"/"+c.row, func(t *testing.T) {
					w.t = t
					w.status(name, w.do(t.Context(), c.row, who), oic.Unauthorized)
				})
			}
		}
	}
	if n := len(w.thing.asked()); n != 0 {
		t.Errorf("the device was asked %d times", n)
	}
}

func expiryOf(w *world, name string) time.Time {
	list := w.accounts.Tokens(name)
	if len(list) == 0 {
		return time.Now()
	}
	return list[0].Expires
}

func (w *world) tokenIDs(name string) (ids []string) {
	for _, t := range w.accounts.Tokens(name) {
		ids = append(ids, t.ID)
	}
	return ids
}

// TestRule04SecurityIsNeverReached: nobody reaches what a device's security
// rests on, however it is spelled.
func TestRule04SecurityIsNeverReached(t *testing.T) {
	w := newWorld(t)
	for _, href := range []string{
		"/oic/sec/doxm", "/oic/sec/cred?if=oic.if.baseline", "/oic/sec", "/oic/sec/", "/OIC/sec/acl2", "/oic/SEC/pstat",
		"/%6fic/sec/doxm", "/oic/%73%65%63/doxm", "/oic/s%65c", "/oic%2Fsec/doxm", "/oic%2fsec%2fdoxm", "/%2Foic/sec/doxm",
		"//oic/sec/doxm", "/oic//sec/doxm", "/./oic/sec/doxm", "/a/../oic/sec/doxm", "/oic/x/../sec/doxm", "/a/%2e%2e/oic/sec/doxm",
		"/oic/%252e%252e/oic/sec", "/%256fic/sec/doxm", `/oic\sec\doxm`, "/oic/sec%00/doxm", "oic/sec/doxm", "/oic/./sec", "/XMPPUserResURI",
	} {
		for _, column := range []string{"anonymous", "lamp", "door", "shed", "barn", "guest", "partner", "home", "office", "operator"} {
			for _, op := range []oic.Op{oic.Retrieve, oic.Update, oic.Replace, oic.Create, oic.Delete} {
				_, err := (&way{w.Cloud, w.who(column), lamp}).Handle(t.Context(), &oic.Request{Op: op, Href: href})
				if status, _ := oic.StatusOf(err); err == nil || status.Class() != 4 {
					t.Errorf("%s %v %s: %v, want a refusal", column, op, href, err)
				}
			}
			err := (&way{w.Cloud, w.who(column), lamp}).Observe(t.Context(), &oic.Request{Href: href}, func(*oic.Response) {})
			if status, _ := oic.StatusOf(err); status.Class() != 4 {
				t.Errorf("%s observe %s: %v, want a refusal", column, href, err)
			}
		}
		err := w.tell(w.lamp, href, &oic.Response{})
		if status, _ := oic.StatusOf(err); err == nil || status.Class() != 4 {
			t.Errorf("report %s: %v, want a refusal", href, err)
		}
	}
	if asked := w.thing.asked(); len(asked) != 0 {
		t.Errorf("the device was asked: %+v", asked)
	}
}
