package xcproxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/oic"
)

// A device that two proxies find has one grant in the cloud, that of the proxy
// which signed it up last: the other's is revoked by it. That one does not fight
// for the device, but asks now and then whether anybody has it connected:
//
//	refused ──▶ connected ──▶ pause, longer each time ──▶ look again
//	        └─▶ away ──▶ pause ──▶ still away ──▶ sign up anew
//
// Away twice, lest a proxy whose connection has just broken loses the device.

// errElsewhere is why a device is not shown that another program shows.
var errElsewhere = errors.New("another program shows this device in the cloud; it is shown here again when that one has gone")

// errRemoved is why a device is not shown that the account does not have.
var errRemoved = errors.New("the account does not have this device any more; without its grant beside the state file it joins anew")

// reclaim looks after a device that could not be shown in the cloud, for err. It is
// nil if the device is to be signed up anew, else why it still is not shown.
func (p *Proxy) reclaim(ctx context.Context, l *leg, m *mirror, err error) error {
	refusal, ok := errors.AsType[*oic.StatusError](err)
	if !ok || refusal.Status != oic.Unauthorized || p.cfg.Cloud.Connected == nil {
		return err
	}
	grants := p.cfg.Cloud.Client(m.id).State
	state, lost := grants.Load()
	if lost != nil || state.Grant.Account == "" {
		return err // it was the code that was refused
	}
	there, why := p.cfg.Cloud.Connected(ctx, m.id)
	l.refused = err
	switch known, _ := errors.AsType[*oic.StatusError](why); {
	case known != nil && known.Status == oic.NotFound:
		why = errRemoved
	case why != nil:
		why = fmt.Errorf("%w; and whether another program shows the device cannot be seen: %w", err, why)
	case there || !l.away:
		if l.away = !there; l.away {
			l.wait = nil // the next look is soon
		}
		why = errElsewhere
	default:
		l.refused, l.away, l.wrong = nil, false, ""
		p.log.Info("device is asked for anew in the cloud: the program that showed it has gone", "device", m.id)
		return grants.Save(cloudlink.State{Device: m.id})
	}
	p.tell(m, func(c *Change) { c.Cloud = cloudlink.Status{Err: why} })
	return why
}
