package wire

// Waker is told when something is to be read from a parked link.
type Waker interface {
	comparable

	// Wake is called once for each Park, on the goroutine of the Lot; it must
	// not block. Whether the link is still to be woken is for it to know: a
	// call may come late.
	Wake()
}
