package std

import (
	"bufio"
	"net"
	"sync/atomic"
)

// countedConn counts what was written on a connection to an endpoint, so that a try that failed before it sent
// anything is known for what it is.
type countedConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// CloseWrite lets one side of an upgraded connection end before the other.
func (c *countedConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// takenConn is a client's connection after an upgrade. What the server had already read comes first.
type takenConn struct {
	net.Conn
	early   *bufio.Reader
	in, out *atomic.Int64
}

func (c *takenConn) Read(p []byte) (int, error) {
	n, err := c.early.Read(p)
	c.in.Add(int64(n))
	return n, err
}

func (c *takenConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.Add(int64(n))
	return n, err
}

func (c *takenConn) CloseWrite() error { return closeWrite(c.Conn) }
