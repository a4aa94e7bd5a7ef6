package cloud

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/cloud/account"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	lamp     = "a1b2c3d4-0000-4000-8000-000000000001" // of home, published and connected
	door     = "a1b2c3d4-0000-4000-8000-000000000002" // of home
	shed     = "a1b2c3d4-0000-4000-8000-000000000003" // of barn
	fresh    = "a1b2c3d4-0000-4000-8000-000000000004" // of nobody
	password = secret.String("a long enough password")
)

var (
	operator = oic.Identity{Admin: true}
	nowhere  netip.Addr
)

// world is a cloud on a store of its own, with accounts (home, barn, and office,
// which is an admin) and their devices. The lamp of home is shared with guest, to
// view, and all of home with partner, who is a member.
type world struct {
	*Cloud
	t     testing.TB
	store *store.Store
	dir   string
	cfg   Config

	lamp  oic.Identity // as it signed in
	door  oic.Identity
	shed  oic.Identity
	thing *thing // the lamp's session

	people map[string]oic.Identity // by account, with a token each
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "store"), people: map[string]oic.Identity{}}
	w.open()
	t.Cleanup(func() { w.close() })
	w.fill()
	return w
}

// fill makes the accounts and devices.
func (w *world) fill() {
	w.t.Helper()
	for _, name := range []string{"home", "barn", "office", "guest", "partner"} {
		_, err := w.CreateAccount(w.t.Context(), operator, name, password, name == "office")
		w.must(err)
	}
	w.lamp, w.door, w.shed = w.join("home", lamp), w.join("home", door), w.join("barn", shed)
	_, err := w.Publish(w.t.Context(), w.lamp, cloudlink.Publication{Device: lamp, Name: "lamp", Links: []oic.Link{
		{Href: "/a/light", Types: []string{"oic.r.light"}, Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}},
		{Href: "/a/plain", Types: []string{"x.plain"}, Policy: oic.Policy{Mask: oic.Discoverable}},
	}})
	w.must(err)
	w.thing = w.attach(w.lamp)
	w.share(lamp, "guest", account.Viewer)
	w.share("", "partner", account.Member)
}

// share shares a device of home, or all, with another account, which accepts.
func (w *world) share(di, with string, role account.Role) account.Share {
	w.t.Helper()
	s, err := w.NewShare(w.t.Context(), oic.Identity{Account: "home"}, di, with, role)
	w.must(err)
	s, err = w.AcceptShare(w.t.Context(), oic.Identity{Account: with}, s.ID)
	w.must(err)
	return s
}

func (w *world) open() {
	w.t.Helper()
	var err error
	log := slog.New(slog.DiscardHandler)
	w.store, err = store.Open(w.t.Context(), store.Config{Dir: w.dir, Sync: time.Minute, Log: log})
	w.must(err)
	w.cfg.Store, w.cfg.Log = w.store, log
	w.Cloud, err = Open(w.t.Context(), w.cfg)
	w.must(err)
}

func (w *world) close() {
	w.Cloud.Close()
	w.store.Close()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) status(what string, err error, want oic.Status) {
	w.t.Helper()
	if got, _ := oic.StatusOf(err); err == nil || got != want {
		w.t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func (w *world) code(name string) secret.String {
	w.t.Helper()
	code, _, err := w.NewPairingCode(w.t.Context(), oic.Identity{Account: name})
	w.must(err)
	return code
}

// join pairs a device and signs it in.
func (w *world) join(name, di string) oic.Identity {
	w.t.Helper()
	g, err := w.SignUp(w.t.Context(), cloudlink.SignUp{Device: di, Code: w.code(name)})
	w.must(err)
	return w.signIn(g, di)
}

func (w *world) signIn(g cloudlink.Grant, di string) oic.Identity {
	w.t.Helper()
	who, _, err := w.SignIn(w.t.Context(), cloudlink.Login{Account: g.Account, Device: di, Access: g.Access})
	w.must(err)
	return who
}

// token makes an API token and returns who comes with it.
func (w *world) token(name string, life time.Duration) (secret.String, oic.Identity) {
	w.t.Helper()
	token, _, err := w.NewToken(w.t.Context(), oic.Identity{Account: name}, "", oic.ScopeAdmin, life)
	w.must(err)
	who, err := w.Authenticate(w.t.Context(), nowhere, token)
	w.must(err)
	return token, who
}

func (w *world) attach(who oic.Identity) *thing {
	w.t.Helper()
	s := &thing{body: []byte{0xf4}, closed: make(chan string, 8)}
	detach, _, err := w.Attach(w.t.Context(), who, s)
	w.must(err)
	s.detach = detach
	return s
}

func (w *world) report(href string, body ...byte) {
	w.t.Helper()
	w.must(w.tell(w.lamp, href, &oic.Response{Status: oic.Content, Format: oic.OCF, Body: body}))
}

// thing is a device at the end of its session, without the wire.
type thing struct {
	detach func()
	closed chan string   // reasons
	answer *oic.Response // if not nil: to everything, without a trace

	mu       sync.Mutex // guards what follows
	body     []byte
	requests []oic.Request
	handle   func(ctx context.Context, req *oic.Request) (*oic.Response, error) // nil: answers body
}

func (s *thing) LastSeen() time.Time { return time.Now() }
func (s *thing) Close(reason string) { s.closed <- reason; s.detach() }

func (s *thing) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	if s.answer != nil {
		return s.answer, nil
	}
	s.mu.Lock()
	s.requests = append(s.requests, *req)
	handle, resp := s.handle, &oic.Response{Status: oic.Content, Format: oic.OCF, Body: s.body}
	s.mu.Unlock()
	if handle != nil {
		return handle(ctx, req)
	}
	return resp, nil
}

func (s *thing) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	resp, err := s.Handle(ctx, req)
	if err != nil {
		return err
	}
	each(resp)
	<-ctx.Done()
	return ctx.Err()
}

func (s *thing) asked() []oic.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]oic.Request(nil), s.requests...)
}

var errStop = errors.New("enough")

// within fails the test unless the error comes.
func (w *world) within(what string, done <-chan error) error {
	w.t.Helper()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		w.t.Fatalf("%s: not within a minute", what)
		return nil
	}
}

// tell reports one representation.
func (w *world) tell(who oic.Identity, href string, rep *oic.Response) error {
	return errors.Join(w.Report(w.t.Context(), who, []cloudlink.Report{{Href: href, Rep: rep}})...)
}

// newestEvent is the sequence of the newest event of a device of home.
func (w *world) newestEvent(t *testing.T, di string) (seq uint64) {
	t.Helper()
	w.must(w.events.Query(t.Context(), event.Filter{Account: "home", Device: di, Limit: 1}, func(ev event.Event) bool {
		seq = ev.Seq
		return true
	}))
	return seq
}
