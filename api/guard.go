package api

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// guard lets through what may be answered at all, whoever asks.
func (h *Handler) guard(hosts []string, next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusForbidden, "a request from another web site may not change anything")
	}))
	next = origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		if !knownHost(r, hosts) {
			writeProblem(w, http.StatusMisdirectedRequest, "this server does not answer by the name in Host")
			return
		}
		// Not every ResponseWriter has deadlines; the ones that matter do.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
		next.ServeHTTP(w, r)
	})
}

// protective are the headers of every answer.
const protective = 5

// harden sets them, with one allocation for all their values.
func harden(head http.Header) {
	values := [protective]string{"nosniff", "no-referrer", "default-src 'none'; frame-ancestors 'none'", "same-origin", "no-store"}
	for i, name := range [protective]string{
		"X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy", "Cross-Origin-Resource-Policy", "Cache-Control",
	} {
		head[name] = values[i : i+1 : i+1]
	}
}

// knownHost reports whether r was sent to a name that is ours: a web page of
// elsewhere can make its own name mean our address (DNS rebinding), but it
// cannot make the browser send a name or an address that is not its own.
func knownHost(r *http.Request, hosts []string) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		return addr.IsLoopback() || addr == localAddr(r) || slices.Contains(hosts, addr.String())
	}
	return strings.EqualFold(host, "localhost") ||
		slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// localAddr is the address that the connection came to.
func localAddr(r *http.Request) netip.Addr {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// peer is the address that the connection came from.
func peer(remote string) netip.Addr {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}
