package reach

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farreach/farreach/oic"
)

// offersTime is how long all have to tell what they offer.
const offersTime = 3 * time.Second

// Offering is those of list who are there and have a resource of that type, which
// no address tells: they are asked. Who does not answer is left out.
func (w *Ways) Offering(ctx context.Context, list []Present, resourceType string) (found []Present) {
	ctx, cancel := context.WithTimeout(ctx, offersTime)
	defer cancel()
	offers := make([]atomic.Bool, len(list))
	all := make([]int, len(list))
	for i := range all {
		all[i] = i
	}
	eachOf(all, func(i int) { offers[i].Store(list[i].Here && w.offers(ctx, list[i], resourceType)) })
	for i, p := range list {
		if offers[i].Load() {
			found = append(found, p)
		}
	}
	return found
}

func (w *Ways) offers(ctx context.Context, p Present, resourceType string) bool {
	d, err := w.Device(ctx, p.Target())
	if err != nil {
		return false
	}
	resp, err := d.Handle(ctx, &oic.Request{Href: "/oic/res"})
	if err != nil {
		return false
	}
	sets, err := oic.ParseLinks(resp.Format, resp.Body)
	return err == nil && slices.ContainsFunc(sets, func(set oic.LinkSet) bool {
		return strings.EqualFold(set.Device, p.ID) && slices.ContainsFunc(set.Links, func(l oic.Link) bool { return slices.Contains(l.Types, resourceType) })
	})
}
