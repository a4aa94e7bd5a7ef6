package roster

import (
	"slices"
	"testing"

	"github.com/farreach/farreach/xmpp/stanza"
)

// TestRead: what a server may say (RFC 6121, section 2.1), and what makes no
// sense.
func TestRead(t *testing.T) {
	e, err := stanza.Parse([]byte(`<query xmlns='jabber:iq:roster'>
		<item jid='Romeo@Example.Net' name='R' subscription='both' ask='subscribe'><group>Friends</group><group>A&amp;B</group></item>
		<item jid='mercutio@example.com' subscription='strange'/>
		<item jid='@' subscription='to'/><item xmlns='other' jid='x@example.com'/><item/></query>`), "jabber:client")
	if err != nil {
		t.Fatal(err)
	}
	items, err := read(&e)
	if err != nil || len(items) != 2 {
		t.Fatalf("read = %+v, %v", items, err)
	}
	if it := items[0]; it.JID.String() != "romeo@example.net" || it.Name != "R" || it.Subscription != Both || !it.Pending || !slices.Equal(it.Groups, []string{"Friends", "A&B"}) {
		t.Errorf("first: %+v", it)
	}
	if it := items[1]; it.Subscription != None || it.Pending {
		t.Errorf("second: %+v", it)
	}
	for _, wrong := range []*stanza.Element{nil, {NS: NS, Name: "item"}, {NS: "jabber:client", Name: "query"}} {
		if _, err := read(wrong); err == nil {
			t.Errorf("read(%+v) is fine", wrong)
		}
	}
}
