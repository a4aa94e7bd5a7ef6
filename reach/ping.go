package reach

import (
	"context"
	"time"
)

// Ping asks the cloud for a sign of life and returns how long that took. It
// says nothing about the devices.
func (w *Way) Ping(ctx context.Context) (time.Duration, error) { return w.link.Ping(ctx) }

// Ping asks the server for a sign of life and returns how long that took.
func (s *Server) Ping(ctx context.Context) (time.Duration, error) { return s.link.Ping(ctx) }
