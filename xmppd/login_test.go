package xmppd_test

import (
	"testing"

	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmppd"
)

// with the password of one device nothing is bound but its resource, and
// who has another resource keeps it.
func TestLoginBindsItsResource(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	phone := w.appear("ann", "phone")
	p := w.connect()
	p.authenticate("ann", lampPassword)
	for _, resource := range []string{"phone", "", lampResource + "x"} {
		p.askBind(resource)
		e := p.expect("iq", "type", "error")
		if cond := condition(e); cond != stanza.NotAllowed {
			t.Errorf("bind %q: %s", resource, cond)
		}
	}
	if full := p.bind(lampResource); full != "ann@home.example/"+lampResource {
		t.Errorf("bound %q", full)
	}
	p.say("<presence/>")
	phone.expect("presence", "from", "ann@home.example/"+lampResource)
	still(t, phone)
}

// With the password of one device only its own session is resumed, which then
// ends with that password, whatever it was opened by (threats rule 2).
func TestLoginResumesItsSession(t *testing.T) {
	w := newWorld(t, xmppd.Config{})
	lose := func(resource string) (id string) {
		p := w.login("ann", resource)
		p.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
		enabled := p.expect("enabled")
		p.nc.Close()
		return enabled.Attr("id")
	}
	phone, lamp := lose("phone"), lose(lampResource)
	p := w.connect()
	p.authenticate("ann", lampPassword)
	p.say("<resume xmlns='urn:xmpp:sm:3' previd='" + phone + "' h='0'/>")
	p.expect("failed")
	p.say("<resume xmlns='urn:xmpp:sm:3' previd='" + lamp + "' h='0'/>")
	p.expect("resumed")
	other := w.login("ann", "other")
	w.people.revoke("ann's lamp")
	p.ends("reset")
	still(t, other)
}
