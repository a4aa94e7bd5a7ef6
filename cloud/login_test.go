package cloud

import (
	"net/netip"
	"testing"
	"time"

	"github.com/farreach/farreach/internal/secret"
)

// What was entered with a password ends within a second when the password
// changes, and when the account is no more; a try that began before does not get
// in (threats rule 2).
func TestBad44LogIns(t *testing.T) {
	for name, lose := range map[string]func(w *world) error{
		"password": func(w *world) error {
			return w.SetPassword(t.Context(), operator, "barn", secret.String("another long password"))
		},
		"account": func(w *world) error { return w.DeleteAccount(t.Context(), operator, "barn") },
	} {
		w := newWorld(t)
		begin := func() *LogIn {
			l, err := w.BeginLogIn(t.Context(), netip.Addr{}, "barn")
			w.must(err)
			return l
		}
		early, ended := begin(), make(chan bool, 1)
		leave, err := begin().Enter(func() { ended <- true })
		w.must(err)
		w.must(lose(w))
		select {
		case <-ended:
		case <-time.After(time.Second):
			t.Errorf("%s: the session is open still", name)
		}
		leave()
		if _, err := early.Enter(func() {}); err == nil {
			t.Errorf("%s: what was proved before lets in after", name)
		}
		if _, ok := w.AccountSince("barn"); ok != (name == "password") {
			t.Errorf("%s: AccountSince is wrong", name)
		}
	}
}
