package stanza_test

import (
	"testing"

	"github.com/farreach/farreach/xmpp/stanza"
)

func TestSmoke(t *testing.T) {
	m, err := stanza.ParseMessage([]byte(`<message to='a@b/c' type='error' id="x" xml:lang='de'><body>a&amp;b<![CDATA[<x>]]></body><x xmlns='q'><y a='1'/></x><error type='wait'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`))
	t.Logf("%+v %v\n%s", m, err, m.Append(nil))
}
