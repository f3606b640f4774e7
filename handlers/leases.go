package handlers

import (
	"errors"
	"net/http"
	"strings"

	"charmer/api"
	"charmer/poolsvc"
)

// Checkout answers POST /checkout.
func (s *Server) Checkout(w http.ResponseWriter, r *http.Request) error {
	req, err := bind[api.CheckoutRequest](s.bind, r)
	if err != nil {
		return checkoutTypeError(err)
	}
	switch session := req.Type == api.CheckoutRequestTypeSession; {
	case session && req.SessionID == nil:
		return invalidBody(api.FieldError{Pointer: "/session_id", Detail: "is required when type is session"})
	case !session && req.SessionID != nil:
		return invalidBody(api.FieldError{Pointer: "/session_id", Detail: "is not allowed when type is anonymous"})
	}
	lease, err := s.pool.Checkout(r.Context(), poolsvc.CheckoutRequest{
		SessionID: value(req.SessionID), By: poolsvc.RequestRef{ID: exchangeOf(r).requestID, Traceparent: traceparent(r)}, Timeout: duration(req.TimeoutMs), TTL: duration(req.TTLMs),
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/checkout/"+lease.ID)
	return reply(w, http.StatusCreated, api.CheckoutReply{
		LeaseID: lease.ID, Type: api.CheckoutReplyType(req.Type), Worker: workerRef(lease.Worker), Session: sessionRef(lease.Session),
		ExpiresAt: lease.ExpiresAt.UTC(), WaitedMs: milliseconds(lease.Waited),
	})
}

// checkoutTypeError gives a wrong type its own code: it is the mistake that clients of this service make first. A type that
// is missing, cut off or there twice is none.
func checkoutTypeError(err error) error {
	var request *requestError
	if errors.As(err, &request) {
		for _, e := range request.Errors {
			if e.Pointer == "/type" && strings.HasPrefix(e.Detail, "must ") {
				request.Code = api.ProblemCodeInvalidCheckoutType
			}
		}
	}
	return err
}

// RenewLease answers POST /checkout/{lease_id}/renew.
func (s *Server) RenewLease(w http.ResponseWriter, r *http.Request, id api.LeaseID) error {
	req, err := bindOptional[api.RenewRequest](s.bind, r)
	if err != nil {
		return err
	}
	expires, err := s.pool.Renew(id, duration(req.TTLMs))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, api.RenewReply{LeaseID: id, ExpiresAt: expires.UTC()})
}

// ReleaseLease answers DELETE /checkout/{lease_id}.
func (s *Server) ReleaseLease(w http.ResponseWriter, _ *http.Request, id api.LeaseID) error {
	if err := s.pool.Release(id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
