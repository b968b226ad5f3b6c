package suite

import (
	"fmt"
	"time"
)

// outage are the cases without Consul. Nothing brings it back, so they come last.
func outage() []Case {
	return []Case{
		{Name: "outage-denied", Title: "without Consul, who was denied stays denied", test: outageDenied},
		{Name: "outage-accept", Title: "without Consul, who was allowed is let in", Kind: Service, test: outageAccept},
		{Name: "outage-dial", Title: "without Consul, known services are dialled", Kind: Service, test: outageDial},
	}
}

// withoutConsul kills Consul and gives the proxy the time to notice.
func (b *bed) withoutConsul() error {
	if b.lost {
		return nil
	}
	b.lost = true
	b.stack.Consul.Kill()
	return b.wait(time.Second)
}

func outageDenied(b *bed) error {
	if err := b.withoutConsul(); err != nil {
		return err
	}
	leaf, err := b.leaf(stranger)
	if err != nil {
		return err
	}
	saw, err := b.knock(b.in.Listen, b.client(leaf))
	if err != nil {
		return err
	}
	b.saw = string(saw)
	if saw == answer {
		return finding("the client was let in")
	}
	return nil
}

func outageAccept(b *bed) error {
	if err := b.withoutConsul(); err != nil {
		return err
	}
	leaf, err := b.leaf(friend)
	if err != nil {
		return err
	}
	for range 5 {
		saw, err := b.knock(b.in.Listen, b.client(leaf))
		if err != nil {
			return err
		}
		if saw != answer {
			b.saw = string(saw)
			return finding("it is refused")
		}
	}
	return nil
}

func outageDial(b *bed) error {
	if err := b.withoutConsul(); err != nil {
		return err
	}
	for range 5 {
		err := b.through(goodServer)
		saw, err := sightOf(err)
		if err != nil {
			return fmt.Errorf("dial a good server: %w", err)
		}
		if saw != answer {
			return finding("they are not")
		}
	}
	return nil
}
