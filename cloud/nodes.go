package cloud

import (
	"context"

	"github.com/farreach/farreach/cloud/directory"
	"github.com/farreach/farreach/cloud/node"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

// A cloud of several processes, the nodes: each has the connections of some
// devices, and reaches those of the others through their nodes.
//
//	way ── authorize ──▶ directory.Session ──▶ session here ──▶ device
//	                                     └──▶ node ──▶ serve ──▶ session there ──▶ device
//
// Rights are decided where somebody asks, and end there. What a device can bear
// is counted where it is connected, whoever asks; what it reports, too. A device
// is connected to one node at a time, so it has its rate once.

// serve is directory.Config.Serve: the way of other nodes to a device that is
// connected here.
func (c *Cloud) serve(di string, s directory.Session) oic.Observer { return served{c, di, s} }

type served struct {
	c  *Cloud
	di string
	to directory.Session
}

// Handle implements oic.Handler.
func (s served) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	leave, err := s.c.flow(s.di).enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.to.Handle(ctx, req)
}

// Observe implements oic.Observer.
func (s served) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	leave, ok := s.c.watch(s.c.flow(s.di))
	if !ok {
		return oic.Errorf(oic.TooMany, "the device is observed by too many")
	}
	defer leave()
	return s.to.Observe(ctx, req, each)
}

// Nodes lists the processes of this cloud, this one first, and tells how the
// servers keep what they store; nil if it has a store of its own. It is for
// operators.
func (c *Cloud) Nodes(ctx context.Context, who oic.Identity) ([]node.Info, *store.Health, error) {
	if err := c.authorize(who, opOperate, target{}); err != nil {
		return nil, nil, err
	}
	if !c.store.Shared() {
		return nil, nil, nil
	}
	list := c.directory.Nodes()
	kept, err := c.store.Health(ctx)
	if err != nil {
		return list, nil, failed("look at the store", err)
	}
	return list, &kept, nil
}
