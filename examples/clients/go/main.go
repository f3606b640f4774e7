// Command bookshop calls the commands of app.py with the client that oapi-codegen made of the service's openapi.json. It exits with 1
// if anything is not as it should be.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"bookshop/bookshop"
)

//go:generate mkdir -p bookshop
//go:generate go tool oapi-codegen -config oapi-codegen.yaml openapi.json

func main() {
	url := "http://localhost:8080"
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if err := run(context.Background(), url); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) error {
	shop, err := bookshop.NewClientWithResponses(url)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context, *bookshop.ClientWithResponses) error{greet, placeOrder, refuseArguments, raise, keepBasket, runOutOfTime} {
		if err := step(ctx, shop); err != nil {
			return err
		}
	}
	return waitForAWorker(ctx, url)
}

func greet(ctx context.Context, shop *bookshop.ClientWithResponses) error {
	reply, err := shop.GreetWithResponse(ctx, nil, bookshop.GreetArgs{Name: "Ada"})
	if err != nil {
		return err
	}
	if reply.JSON200 == nil {
		return failure(reply.Body)
	}
	greeting := *reply.JSON200
	return see("greet", greeting, "hello Ada")
}

func placeOrder(ctx context.Context, shop *bookshop.ClientWithResponses) error {
	copies, express := int64(2), bookshop.ShippingExpress
	reply, err := shop.PlaceOrderWithResponse(ctx, nil, bookshop.PlaceOrderArgs{Order: bookshop.Order{
		Lines:    []bookshop.Line{{Title: "Emma", Copies: &copies}, {Title: "Walden"}},
		Placed:   time.Date(2026, time.January, 31, 12, 0, 0, 0, time.UTC),
		Shipping: &express,
	}})
	if err != nil {
		return err
	}
	if reply.JSON200 == nil {
		return failure(reply.Body)
	}
	var parcels []string
	for _, parcel := range *reply.JSON200 {
		parcels = append(parcels, fmt.Sprintf("%d of %s by %s for %s", parcel.Copies, parcel.Title, parcel.Shipping, parcel.Arrives.Format(time.DateTime)))
	}
	return see("parcels", strings.Join(parcels, ", "), "2 of Emma by express for 2026-02-01 12:00:00, 1 of Walden by express for 2026-02-01 12:00:00")
}

// refuseArguments sends what does not fit. The service says where, and Python has not seen it.
func refuseArguments(ctx context.Context, shop *bookshop.ClientWithResponses) error {
	none := int64(0)
	reply, err := shop.PlaceOrderWithResponse(ctx, nil, bookshop.PlaceOrderArgs{Order: bookshop.Order{
		Lines: []bookshop.Line{{Title: "Emma", Copies: &none}}, Placed: time.Now(),
	}})
	if err != nil {
		return err
	}
	var problem *Failure
	if !errors.As(failure(reply.Body), &problem) || len(problem.Errors) != 1 {
		return fmt.Errorf("an order of no copies: %d %s", reply.StatusCode(), reply.Body)
	}
	first := problem.Errors[0]
	return see("refused", fmt.Sprintf("%d %s, %s %s", problem.Status, problem.Code, first.Pointer, first.Detail),
		"400 invalid_args, /order/lines/0/copies must be at least 1")
}

// raise has the command raise a CommandError.
func raise(ctx context.Context, shop *bookshop.ClientWithResponses) error {
	reply, err := shop.PlaceOrderWithResponse(ctx, nil, bookshop.PlaceOrderArgs{Order: bookshop.Order{
		Lines: []bookshop.Line{{Title: "Ulysses"}}, Placed: time.Now(),
	}})
	if err != nil {
		return err
	}
	var problem *Failure
	if !errors.As(failure(reply.Body), &problem) {
		return fmt.Errorf("an order of what is sold out: %d %s", reply.StatusCode(), reply.Body)
	}
	return see("raised", fmt.Sprintf("%d %s, %s", problem.Status, problem.Code, problem.Detail), "422 sold_out, there are 0 of Ulysses")
}

// keepBasket makes calls in a session: a Python process of its own, which remembers.
func keepBasket(ctx context.Context, shop *bookshop.ClientWithResponses) error {
	session := "go"
	add := func(title string) (string, error) {
		reply, err := shop.AddToBasketWithResponse(ctx, &bookshop.AddToBasketParams{SessionId: &session}, bookshop.AddToBasketArgs{Title: title})
		if err != nil {
			return "", err
		}
		if reply.JSON200 == nil {
			return "", failure(reply.Body)
		}
		return strings.Join(*reply.JSON200, ", "), nil
	}
	for _, call := range []struct{ title, want string }{{"Emma", "Emma"}, {"Walden", "Emma, Walden"}} {
		basket, err := add(call.title)
		if err != nil {
			return err
		}
		if err := see("basket", basket, call.want); err != nil {
			return err
		}
	}
	end := func() error {
		reply, err := shop.EndSessionWithResponse(ctx, session)
		if err == nil && reply.StatusCode() != http.StatusNoContent {
			err = failure(reply.Body)
		}
		return err
	}
	if err := end(); err != nil {
		return err
	}
	basket, err := add("Ulysses") // a new session
	if err != nil {
		return err
	}
	return errors.Join(see("new basket", basket, "Ulysses"), end())
}

// runOutOfTime bounds a call. It had begun, so that repeating it is the caller's decision.
func runOutOfTime(ctx context.Context, shop *bookshop.ClientWithResponses) error {
	timeout := 100.0
	reply, err := shop.TakeStockWithResponse(ctx, &bookshop.TakeStockParams{TimeoutMs: &timeout}, bookshop.TakeStockArgs{Seconds: 60})
	if err != nil {
		return err
	}
	var problem *Failure
	if !errors.As(failure(reply.Body), &problem) {
		return fmt.Errorf("a minute within 100 ms: %d %s", reply.StatusCode(), reply.Body)
	}
	return see("too slow", fmt.Sprintf("%d %s, started: %t", problem.Status, problem.Code, problem.Started), "504 execution_timeout, started: true")
}

// waitForAWorker calls while the service has no worker free, because a lease has its only one until the first refusal.
func waitForAWorker(ctx context.Context, url string) error {
	shop, err := bookshop.NewClientWithResponses(url)
	if err != nil {
		return err
	}
	lease, err := shop.CheckoutWithResponse(ctx, bookshop.CheckoutRequest{Type: bookshop.CheckoutRequestTypeAnonymous})
	if err != nil {
		return err
	}
	if lease.JSON201 == nil {
		return failure(lease.Body)
	}
	refusals := 0
	var released error
	transport := &patient{attempts: 5, refused: func(wait time.Duration) {
		if refusals++; refusals == 1 {
			_, released = shop.ReleaseLeaseWithResponse(ctx, lease.JSON201.LeaseId)
		}
	}}
	waiting, err := bookshop.NewClientWithResponses(url, bookshop.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		return err
	}
	soon := 100.0 // else the service looks for a worker for some seconds
	reply, err := waiting.GreetWithResponse(ctx, &bookshop.GreetParams{CheckoutTimeoutMs: &soon}, bookshop.GreetArgs{Name: "Bob"})
	if err := errors.Join(err, released); err != nil {
		return err
	}
	if reply.JSON200 == nil {
		return failure(reply.Body)
	}
	return see("busy", fmt.Sprintf("refused: %t, then %s", refusals > 0, *reply.JSON200), "refused: true, then hello Bob")
}

// see prints what came of a step, which must be what is wanted.
func see(what, got, want string) error {
	if got != want {
		return fmt.Errorf("%s: got %q, want %q", what, got, want)
	}
	fmt.Printf("%s: %s\n", what, got)
	return nil
}
