package xmpp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

const fuzzHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

// FuzzServer: whatever a server says before it has proved that it knows the
// password, there is no session, no panic, and what the client says is
// well-formed and does not hold the password.
func FuzzServer(f *testing.F) {
	mechanisms := "<mechanisms xmlns='" + nsSASL + "'><mechanism>SCRAM-SHA-256</mechanism><mechanism>PLAIN</mechanism></mechanisms>"
	for _, rest := range []string{
		"", "<stream:features/>", "<stream:features>" + mechanisms + "</stream:features>",
		"<stream:features>" + mechanisms + "</stream:features><challenge xmlns='" + nsSASL + "'>cj1hLHM9YixpPTQwOTY=</challenge>",
		"<stream:features>" + mechanisms + "</stream:features><success xmlns='" + nsSASL + "'>dj14</success>" + fuzzHeader,
		"<stream:features>" + mechanisms + "</stream:features><failure xmlns='" + nsSASL + "'><not-authorized/><text>x</text></failure>",
		"<stream:error><see-other-host xmlns='" + stream.NSErrors + "'>10.0.0.1</see-other-host></stream:error></stream:stream>",
	} {
		f.Add([]byte(fuzzHeader + rest))
	}
	j, err := jid.Parse("ann@home.example/x")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		client, server := net.Pipe()
		var said strings.Builder
		over := make(chan struct{})
		go func() {
			defer close(over)
			io.Copy(&said, server)
		}()
		go func() {
			server.SetWriteDeadline(time.Now().Add(time.Minute))
			server.Write(b)
			server.Close()
		}()
		s, err := Dial(t.Context(), Config{JID: j, Password: "venus and mars", Addr: "x:1", Insecure: true, Log: slog.New(slog.DiscardHandler),
			Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }})
		if err == nil {
			s.Close()
			t.Fatalf("%q: a session with %s", b, s.JID())
		}
		<-over
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%q: %v", b, err)
		}
		if strings.Contains(said.String(), "venus") || strings.Contains(err.Error(), "venus") {
			t.Fatalf("%q: the client says %q", b, said.String())
		}
		var scan stream.Scanner
		for rest := []byte(said.String()); len(rest) > 0; {
			_, n, err := scan.Next(rest)
			if errors.Is(err, stream.ErrShort) {
				break
			}
			if err != nil {
				t.Fatalf("%q: the client says %q: %v", b, said.String(), err)
			}
			rest = rest[n:]
		}
	})
}

// FuzzFeatures: whatever features are, what is read of them is bounded.
func FuzzFeatures(f *testing.F) {
	f.Add([]byte("<stream:features><starttls xmlns='" + nsTLS + "'/><bind xmlns='" + nsBind + "'/><limits xmlns='" + nsLimits + "'><max-bytes>262144</max-bytes><idle-seconds>60</idle-seconds></limits></stream:features>"))
	f.Add([]byte("<stream:features><mechanisms xmlns='" + nsSASL + "'><mechanism>PLAIN</mechanism></mechanisms><sasl-channel-binding xmlns='" + nsBinding + "'><channel-binding type='tls-exporter'/></sasl-channel-binding></stream:features>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := stanza.Parse(b, stream.NSClient)
		if err != nil {
			return
		}
		got := readFeatures(&e)
		if len(got.mechanisms) > maxNames || len(got.bindings) > maxNames || got.limits.Stanza < 0 || got.limits.Idle < 0 {
			t.Fatalf("%q gives %+v", b, got)
		}
	})
}
