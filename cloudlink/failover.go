package cloudlink

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/internal/backoff"
)

// How a Client chooses among its servers:
//
//	the one of the latest success ──▶ the next ──▶ … ──▶ back-off, and again
//
// A server that cannot be reached costs no back-off while there is another. One
// that says goodbye is left for another at once, but for a wait of 2 s at most:
// not all of its devices go to the same, nor at the same moment (CI-012). A
// server may send the device to another one: by redirecturi in the answer to a
// sign-up (rule 28), or by Alternative-Address in a Release. Such an address is
// followed only if its host is listed in Config: so nobody can make the device
// dial into the network that it stands in (threats rule 20), and no filter of
// addresses is needed.
const (
	moveTime     = 2 * time.Second // after a goodbye, at most, if there is another server
	failoverTime = 3 * time.Second // for a connection, while there is another server to try
	maxHoldOff   = time.Hour       // that a server may ask for
	maxRedirects = 3               // in a row
	goodService  = time.Minute     // after which a lost link is no sign of a bad server
)

// redirectError says that a server sends the device to another.
type redirectError struct{ to string }

func (e *redirectError) Error() string { return "redirected to " + e.to }

// servers is what is to be tried now, in order: first the one of the latest
// success, or to which it sent us; those that asked not to come back yet last.
func (c *Client) servers() []string {
	list := slices.Clone(c.cfg.Servers)
	if i := slices.Index(list, c.last); i >= 0 {
		list = append(list[i:], list[:i]...)
	} else if c.last != "" {
		list = append([]string{c.last}, list...)
	}
	slices.SortStableFunc(list, func(a, b string) int {
		switch x, y := c.heldOff(a) > 0, c.heldOff(b) > 0; {
		case x == y:
			return 0
		case x:
			return 1
		}
		return -1
	})
	return list
}

// heldOff is how long a server still wants not to be asked.
func (c *Client) heldOff(uri string) time.Duration { return time.Until(c.holdOff[uri]) }

// mayFollow reports whether the device may go from one server to another that
// the first named, and returns the address as it is to be used: that of the
// list if it is there.
func (c *Client) mayFollow(from, to string) (string, bool) {
	there, err := coap.ParseURI(to)
	if err != nil || there.Transport == coap.UDP {
		return "", false
	}
	if here, err := coap.ParseURI(from); err == nil {
		same := here.Addr() == there.Addr() && here.Secure == there.Secure && here.Transport == there.Transport
		if same || here.Secure && !there.Secure {
			return "", false
		}
	}
	for _, s := range c.cfg.Servers {
		u, err := coap.ParseURI(s)
		switch {
		case err != nil:
		case u.Addr() == there.Addr() && u.Secure == there.Secure && u.Transport == there.Transport:
			return s, true
		case u.Host == there.Host:
			return to, true
		}
	}
	return to, slices.Contains(c.cfg.AllowRedirect, there.Host)
}

// released obeys the Release of a server: it goes to the first alternative that
// is allowed, else to any other of the list, and does not come back before the
// time is over.
func (c *Client) released(from string, e *coap.ReleaseError) {
	c.from = from
	if e.HoldOff > 0 {
		c.holdOff[from] = time.Now().Add(min(e.HoldOff, maxHoldOff))
	}
	scheme, _, _ := strings.Cut(from, "://")
	for _, a := range e.Alternatives {
		if _, _, err := net.SplitHostPort(a); err != nil {
			continue
		}
		if to, ok := c.mayFollow(from, scheme+"://"+a); ok {
			c.log.Info("sent to another server", "from", from, "to", to)
			c.last = to
			return
		}
	}
	others := slices.DeleteFunc(slices.Clone(c.cfg.Servers), func(s string) bool { return s == from })
	if len(others) > 0 {
		c.last = others[rand.N(len(others))]
	}
}

// pause is how long to wait after err ended an attempt, which had lasted for
// served if the device was registered.
func (c *Client) pause(wait *backoff.Backoff, served time.Duration, err error) time.Duration {
	if _, ok := errors.AsType[*coap.ReleaseError](err); ok {
		next := c.servers()[0]
		if next != c.from { // it is there, and only to be spared
			spread := backoff.Backoff{Spread: min(cmp.Or(c.cfg.Backoff.Spread, backoff.DefaultSpread), moveTime)}
			return max(c.heldOff(next), 0) + spread.Goodbye()
		}
		return max(c.heldOff(next), 0) + wait.Goodbye()
	}
	if served >= goodService {
		c.lost = 0
	}
	if served > 0 && c.lost < len(c.cfg.Servers)-1 { // there is another to try
		c.lost++
		first := c.cfg.Backoff
		return first.Next()
	}
	return wait.Next()
}
