package cloud

import (
	"testing"

	"github.com/farreach/farreach/cloud/audit"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// TestAccountLocked: nobody is let into an account that is locked, by whatever he
// shows; its devices, its rules and its guests go on; and what was good is good
// again when it is unlocked.
func TestAccountLocked(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token, _ := w.token("home", 0)
	browser, _, err := w.LoginBrowser(ctx, nowhere, "home", password)
	w.must(err)
	link, _, err := w.NewSignInLink(ctx, oic.Identity{Account: "home"})
	w.must(err)
	code := w.code("home")
	pass := func() error {
		l, err := w.BeginLogIn(ctx, nowhere, "home")
		if err != nil {
			return err
		}
		leave, err := l.Proved(0).Enter(func() {})
		if err == nil {
			leave()
		}
		return err
	}
	ways := map[string]func() error{
		"token":    func() error { _, err := w.Authenticate(ctx, nowhere, token); return err },
		"browser":  func() error { _, _, err := w.Browser(ctx, browser); return err },
		"password": func() error { _, err := w.Login(ctx, nowhere, "home", password); return err },
		"sign-in":  func() error { _, _, err := w.LoginBrowser(ctx, nowhere, "home", password); return err },
		"log-in":   pass,
	}
	once := map[string]func() error{
		"link": func() error { _, _, err := w.FollowLink(ctx, nowhere, link); return err },
		"code": func() error {
			_, err := w.SignUp(ctx, cloudlink.SignUp{Device: fresh, Code: code})
			return err
		},
	}
	grant, err := w.SignUp(ctx, cloudlink.SignUp{Device: door, Code: w.code("home")})
	w.must(err)
	w.door = w.signIn(grant, door)
	tell := w.openDoor()
	w.addRule(doorRule)
	tell(false)

	w.status("the only admin", w.LockAccount(ctx, operator, "office", true), oic.Conflict)
	w.status("no account", w.LockAccount(ctx, operator, "nobody", true), oic.NotFound)
	w.status("by its owner", w.LockAccount(ctx, oic.Identity{Account: "home"}, "home", true), oic.Forbidden)
	w.must(w.LockAccount(ctx, operator, "home", true))
	for name, way := range ways {
		w.status(name+" of a locked account", way(), oic.Unauthorized)
	}
	for name, way := range once {
		w.status(name+" of a locked account", way(), oic.Unauthorized)
	}
	_, err = w.Login(ctx, nowhere, "home", secret.String("a wrong password"))
	w.status("a wrong password", err, oic.Unauthorized)
	if err.Error() != "4.01 Unauthorized: wrong account or password" {
		t.Errorf("who did not prove to be of it is told: %v", err)
	}

	tell(true) // the door reports, the rule fires, the lamp is commanded
	w.eventually(func() string {
		if len(w.thing.asked()) == 0 {
			return "the rule does not go on"
		}
		return ""
	})
	w.signIn(grant, door)
	_, err = w.Refresh(ctx, cloudlink.Refresh{Account: "home", Device: door, Token: grant.Refresh})
	w.must(err)
	select {
	case why := <-w.thing.closed:
		t.Errorf("the lamp's session was closed: %s", why)
	default:
	}
	w.must(w.authorize(oic.Identity{Account: "guest"}, opRead, target{device: lamp}))
	for _, info := range w.accounts.List() {
		if info.Locked != (info.Name == "home") {
			t.Errorf("%+v", info)
		}
	}

	w.must(w.LockAccount(ctx, operator, "home", false))
	for name, way := range ways {
		if err := way(); err != nil {
			t.Errorf("%s after the lock: %v", name, err)
		}
	}
	if err := once["code"](); err != nil {
		t.Errorf("code after the lock: %v", err)
	}
	entries, err := w.Audit(ctx, operator, audit.Filter{})
	w.must(err)
	if len(entries) < 2 || entries[0].What != "account.unlock" || entries[1].What != "account.lock" || entries[1].On != "home" {
		t.Errorf("audit: %+v", entries[:min(2, len(entries))])
	}
}
