package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// past is the history that serveHistory makes.
type past struct {
	Dir     string
	Devices int // in accounts of a thousand
	Events  int // of each, an hour apart
}

const accountDevices = 1000

// serveHistory is the process of a cloud whose devices have reported. It is told
// its past first, writes how many events there are, and then answers as Serve
// does.
func serveHistory(ctx context.Context, questions *bufio.Scanner, out io.Writer) error {
	var p past
	if !questions.Scan() {
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(questions.Bytes(), &p); err != nil {
		return err
	}
	debug.SetGCPercent(200) // as farreach cloud does
	log := slog.New(slog.DiscardHandler)
	s, err := store.Open(ctx, store.Config{Dir: p.Dir, Sync: time.Second, Log: log})
	if err != nil {
		return err
	}
	defer s.Close()
	c, err := cloud.Open(ctx, cloud.Config{Store: s, Log: log})
	if err != nil {
		return err
	}
	defer c.Close()
	devices, err := p.join(ctx, c)
	if err != nil {
		return err
	}
	n, err := p.report(ctx, s, devices)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, n)
	for questions.Scan() {
		fmt.Fprintln(out, answer(questions.Text()))
	}
	return nil
}

// join makes the devices.
func (p past) join(ctx context.Context, c *cloud.Cloud) ([]oic.Identity, error) {
	operator := oic.Identity{Admin: true}
	account := func(i int) oic.Identity { return oic.Identity{Account: fmt.Sprint("account-", i/accountDevices)} }
	for i := 0; i < p.Devices; i += accountDevices {
		if _, err := c.CreateAccount(ctx, operator, account(i).Account, "a long password", false); err != nil {
			return nil, err
		}
	}
	all := make([]oic.Identity, p.Devices)
	err := each(ctx, p.Devices, func(ctx context.Context, i int) (err error) {
		all[i], err = joinCloud(ctx, c, account(i))
		return err
	})
	return all, err
}

// joinCloud makes a device of who's account.
func joinCloud(ctx context.Context, c *cloud.Cloud, who oic.Identity) (d oic.Identity, err error) {
	code, _, err := c.NewPairingCode(ctx, who)
	if err != nil {
		return d, err
	}
	di := uuid.NewString()
	g, err := c.SignUp(ctx, cloudlink.SignUp{Device: di, Code: code, Peer: netip.IPv6Loopback()})
	if err != nil {
		return d, err
	}
	if d, _, err = c.SignIn(ctx, cloudlink.Login{Account: g.Account, Device: di, Access: g.Access}); err != nil {
		return d, err
	}
	_, err = c.Publish(ctx, d, cloudlink.Publication{Name: "meter", Links: []oic.Link{meterLink}})
	return d, err
}

// report stores what they reported.
func (p past) report(ctx context.Context, s *store.Store, devices []oic.Identity) (n int, err error) {
	e, err := event.Open(ctx, s, event.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	defer e.Close()
	start := time.Now().Add(-time.Duration(p.Events) * time.Hour)
	for i := range p.Events {
		some := make([]event.Event, 0, len(devices))
		for j, d := range devices {
			some = append(some, event.Event{Account: d.Account, Device: d.Device, Href: meterLink.Href, Format: oic.OCF,
				Body: state(uint32(i + j)), Time: start.Add(time.Duration(i) * time.Hour)})
		}
		for len(some) > 0 {
			part := some[:min(len(some), accountDevices)]
			if errs := e.AppendAll(ctx, part); errs != nil {
				return n, errs[0]
			}
			n, some = n+len(part), some[len(part):]
		}
	}
	return n, nil
}
