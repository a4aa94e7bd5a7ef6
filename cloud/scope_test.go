package cloud

import (
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

// scopeRows is what a token of the owner may do, by its scope.
const scopeRows = `
                   read  command  admin
DeviceInfo           y      y       y
Device.Retrieve      y      y       y
Device.Observe       y      y       y
Device.Update        -      y       y
Device.Replace       -      y       y
Device.Create        -      y       y
Device.Delete        -      y       y
Device.Security      -      -       -
Inventory            y      y       y
Events               y      y       y
FollowEvents         y      y       y
WatchPresence        y      y       y
NewPairingCode       -      -       y
NewToken             -      -       y
Tokens               -      -       y
RevokeToken          -      -       y
SetPassword          -      -       y
NewLogin             -      -       y
Logins               -      -       y
RemoveLogin          -      -       y
DeleteDevice         -      -       y
NewShare             -      -       y
Shares               -      -       y
AcceptShare          -      -       y
EndShare             -      -       y
Audit                -      -       y
`

// TestScopes: a token may do what it was made for, and is told what it lacks.
func TestScopes(t *testing.T) {
	w := newWorld(t)
	w.report("/a/light", 0xf4)
	for _, c := range cells(t, scopeRows) {
		t.Run(c.row+"/"+c.column, func(t *testing.T) {
			w.t = t
			scope, err := oic.ParseScope(c.column)
			w.must(err)
			token, _, err := w.NewToken(t.Context(), oic.Identity{Account: "home"}, "", scope, 0)
			w.must(err)
			who, err := w.Authenticate(t.Context(), nowhere, token)
			w.must(err)
			defer func() {
				_, err := w.accounts.RevokeToken(t.Context(), "home", who.Token)
				w.must(err)
			}()
			err = w.do(t.Context(), c.row, who)
			if c.yes {
				w.must(err)
				return
			}
			w.status("denied", err, oic.Forbidden)
			if c.row != "Device.Security" && !strings.Contains(err.Error(), "scope") {
				t.Errorf("%v: does not say which scope is needed", err)
			}
		})
	}
}
