package reach

import (
	"context"

	"github.com/farreach/farreach/lan"
)

// LAN is lan.Find. The error is a *Error.
func LAN(ctx context.Context, cfg lan.FindConfig) ([]lan.Device, error) {
	found, err := lan.Find(ctx, cfg)
	if err != nil {
		return nil, &Error{Kind: NoConnect, Err: err, Hint: "is there a network?"}
	}
	return found, nil
}
