package stream_test

import (
	"testing"

	"github.com/farreach/farreach/xmpp/stream"
)

const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='home.example' version='1.0'>`

func TestSmoke(t *testing.T) {
	var s stream.Scanner
	in := []byte(header + ` <message to='a@b/c' id="x"><body xmlns='q'>a&amp;b<![CDATA[<x>]]></body></message><stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error><r xmlns='urn:xmpp:sm:3'/></stream:stream >`)
	for len(in) > 0 {
		it, n, err := s.Next(in)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v %s %s to=%s id=%s child=%s/%s | %s | %s", it.Kind, it.NS, it.Name, it.To, it.ID, it.Child.NS, it.Child.Name, it.Raw, it.AppendStamped(nil, stream.Stamp{From: []byte("me@x/y"), To: []byte("T")}))
		in = in[n:]
	}
}

func BenchmarkScan600(b *testing.B) {
	var s stream.Scanner
	s.Next([]byte(header))
	in := []byte(`<message id='d0' to='ann@home.example/OIC/1.0/oic.d.light/0685b960-736f-46f7-bec0-9e6cbd61adc1' type='normal'><data xmlns='http://jabber.org/protocol/ibb' sid='ra7f3c1da0' seq='0'>`)
	for len(in) < 540 {
		in = append(in, "PHJlc3Qg"...)
	}
	in = append(in, `</data><no-store xmlns='urn:xmpp:hints'/></message>`...)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, n, err := s.Next(in); err != nil || n != len(in) {
			b.Fatal(n, err)
		}
	}
}
