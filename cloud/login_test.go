package cloud

import (
	"net/netip"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/secret"
)

// what was entered with the password of one device ends within a second
// when that is removed, not with the password of the account; and one that was
// proved before does not get in after (threats rule 2).
func TestBad44DeviceLogIns(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.NewLogin(t.Context(), operator, "barn", "lamp", "OIC/1.0/*/"+lamp)
	w.must(err)
	pass := func() *Pass {
		l, err := w.BeginLogIn(t.Context(), netip.Addr{}, "barn")
		w.must(err)
		return l.Proved(1)
	}
	early, ended := pass(), make(chan bool, 1)
	p := pass()
	if !p.May("OIC/1.0/oic.d.light/"+lamp) || p.May("OIC/1.0/oic.d.light/"+fresh) || p.May("") {
		t.Error("the log-in is for other resources")
	}
	leave, err := p.Enter(func() { ended <- true })
	w.must(err)
	defer leave()
	w.must(w.SetPassword(t.Context(), operator, "barn", secret.String("another long password")))
	leaveTwo, err := pass().Enter(func() {})
	w.must(err)
	leaveTwo()
	w.must(w.RemoveLogin(t.Context(), operator, "barn", "lamp"))
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the session is open still")
	}
	if _, err := early.Enter(func() {}); err == nil {
		t.Error("what was proved before lets in after")
	}
}

// What was entered with a password ends within a second when the password
// changes, and when the account is no more; a try that began before does not get
// in (threats rule 2).
func TestBad44LogIns(t *testing.T) {
	for name, lose := range map[string]func(w *world) error{
		"password": func(w *world) error {
			return w.SetPassword(t.Context(), operator, "barn", secret.String("another long password"))
		},
		"lock":    func(w *world) error { return w.LockAccount(t.Context(), operator, "barn", true) },
		"account": func(w *world) error { return w.DeleteAccount(t.Context(), operator, "barn") },
	} {
		w := newWorld(t)
		begin := func() *LogIn {
			l, err := w.BeginLogIn(t.Context(), netip.Addr{}, "barn")
			w.must(err)
			return l
		}
		early, ended := begin(), make(chan bool, 1)
		leave, err := begin().Proved(0).Enter(func() { ended <- true })
		w.must(err)
		w.must(lose(w))
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Errorf("%s: the session is open still", name)
		}
		leave()
		if _, err := early.Proved(0).Enter(func() {}); err == nil {
			t.Errorf("%s: what was proved before lets in after", name)
		}
		if _, ok := w.AccountSince("barn"); ok != (name != "account") {
			t.Errorf("%s: AccountSince is wrong", name)
		}
	}
}
