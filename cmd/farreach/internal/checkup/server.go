package checkup

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/reach"
)

const startIt = "farreach up"

func (s Subject) http(ctx context.Context) Result {
	if s.Server.API() == "" {
		return skip("the profile has no HTTP address")
	}
	if _, err := s.API.Healthy(ctx, "/healthz"); err != nil {
		return failed(startIt, "%v", err)
	}
	return ok("%s answers", s.Server.API())
}

// The clocks of the two may differ by that much, beside the second to which
// HTTP tells the time. Certificates and tokens bear it.
const (
	clockFine = 3 * time.Second
	clockBad  = time.Minute
)

func (s Subject) clock(ctx context.Context) Result {
	if s.Server.API() == "" {
		return skip("the profile has no HTTP address")
	}
	there, err := s.API.Healthy(ctx, "/healthz")
	if err != nil || there.IsZero() {
		return skip("the server does not tell its time")
	}
	const fix = "set the clocks by a time server"
	switch off := time.Since(there).Abs(); {
	case off > clockBad:
		return failed(fix, "this machine and the server are %v apart", off.Round(time.Second))
	case off > clockFine:
		return warn(fix, "this machine and the server are %v apart", off.Round(time.Second))
	}
	return ok("same as the server's to the second")
}

func (s Subject) store(ctx context.Context) Result {
	if s.Server.API() == "" {
		return skip("the profile has no HTTP address")
	}
	start := time.Now()
	if _, err := s.API.Healthy(ctx, "/readyz"); err != nil {
		return failed("free disk space, or start the NATS server; the server's log says more", "cannot be read and written: %v", err)
	}
	return ok("reads and writes, in %v", time.Since(start).Round(100*time.Microsecond))
}

// soon is when a certificate should have been renewed by itself.
const soon = 14 * 24 * time.Hour

func (s Subject) tls(ctx context.Context) Result {
	if s.Server.CoAPSTCP == "" {
		return skip("the profile has no coaps+tcp address")
	}
	state, err := s.handshake(ctx, coap.ALPN)
	if refused(err) {
		state, err = s.handshake(ctx)
	}
	if wrong, bad := errors.AsType[*tls.CertificateVerificationError](err); bad {
		return failed("another --profile or --ca-file, or ask the server's operator", "%s: %v", s.Server.CoAPSTCP, wrong.Err)
	}
	if err != nil {
		return failed(startIt, "%s: %v", s.Server.CoAPSTCP, err)
	}
	cert := state.PeerCertificates[0]
	left := time.Until(cert.NotAfter)
	days := fmt.Sprintf("%s, certificate good for %d days", tls.VersionName(state.Version), left/(24*time.Hour))
	if left < soon {
		return warn("restart the server, which makes a new one, or install one", "%s", days)
	}
	return ok("%s", days)
}

// refused reports whether a handshake failed because the server said so. If it
// does without ALPN, that was the reason.
func refused(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

func (s Subject) alpn(ctx context.Context) Result {
	if s.Server.CoAPSTCP == "" {
		return skip("the profile has no coaps+tcp address")
	}
	state, err := s.handshake(ctx, coap.ALPN)
	if err == nil && state.NegotiatedProtocol == coap.ALPN {
		return ok("%s speaks %q", s.Server.CoAPSTCP, coap.ALPN)
	}
	if err != nil && !refused(err) {
		return failed(startIt, "%s: %v", s.Server.CoAPSTCP, err)
	}
	_, port, _ := net.SplitHostPort(s.Server.CoAPSTCP)
	return failed("pass TCP through on port "+port+", as it comes",
		"%s answers, but does not speak %q: a proxy ends TLS in front of the server", s.Server.CoAPSTCP, coap.ALPN)
}

func (s Subject) handshake(ctx context.Context, protocols ...string) (tls.ConnectionState, error) {
	config := s.config()
	config.NextProtos = protocols
	nc, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", s.Server.CoAPSTCP)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer nc.Close()
	return nc.(*tls.Conn).ConnectionState(), nil
}

func (s Subject) plain(ctx context.Context) Result {
	addr := s.Server.CoAPTCP
	if addr == "" {
		return skip("off")
	}
	server, err := reach.Direct(ctx, reach.Target{URI: "coap+tcp://" + addr}, reach.Config{Log: s.Reach.Log})
	if err != nil {
		return failed(startIt, "%s: %v", addr, err)
	}
	defer server.Close()
	took, err := server.Ping(ctx)
	if err != nil {
		return failed(startIt, "%s: no answer to a Ping: %v", addr, err)
	}
	if !loopback(addr) {
		return warn("leave plain CoAP to this machine", "%s answers everybody in clear", addr)
	}
	return ok("%s answers in %v, this machine only", addr, took.Round(10*time.Microsecond))
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func (s Subject) signIn(ctx context.Context) Result {
	if s.Reach.Cloud == "" {
		return skip("the profile has no cloud address")
	}
	if s.Reach.Token == "" {
		return failed("--token-file, or a profile of farreach up", "no token")
	}
	start := time.Now()
	way, err := reach.Open(ctx, s.Reach)
	if err != nil {
		return failed(cmp.Or(reach.HintOf(err), startIt), "%s: %v", s.Reach.Cloud, err)
	}
	defer way.Close()
	return ok("as %s at %s, in %v", s.Reach.Account, s.Reach.Cloud, time.Since(start).Round(100*time.Microsecond))
}

func (s Subject) devices(ctx context.Context) Result {
	if s.Server.API() == "" {
		return skip("the profile has no HTTP address")
	}
	list, err := s.API.Devices(ctx)
	if p, ok := errors.AsType[*apiclient.Problem](err); ok {
		return failed("a token that holds: --token-file", "%v", p)
	}
	if err != nil {
		return failed(startIt, "%v", err)
	}
	return presence(list)
}

// presence counts devices by state. One that is offline may be switched off
// on purpose; when none can be reached, that is rarely so.
func presence(list []apiclient.Device) Result {
	if len(list) == 0 {
		return skip("none yet")
	}
	count := map[string]int{}
	for _, d := range list {
		count[d.State]++
	}
	states := []string{"reachable", "unproven", "offline", "unknown"}
	var parts []string
	for _, state := range states {
		if count[state] > 0 || state == states[0] {
			parts = append(parts, fmt.Sprintf("%d %s", count[state], state))
		}
	}
	text := strings.Join(parts, ", ")
	if count[states[0]] == 0 {
		return warn("farreach devices shows since when", "%s", text)
	}
	return ok("%s", text)
}
