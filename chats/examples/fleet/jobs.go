package main

import (
	"context"

	"github.com/riverqueue/river"

	"github.com/ymchats/ymchats-go/chats"
)

// crmArgs is a job of this program's own, which the same River client works: telling the shop's
// CRM of a reply.
type crmArgs struct {
	Business chats.BusinessID `json:"business"`
	Key      string           `json:"key"`
}

// Kind implements [river.JobArgs].
func (crmArgs) Kind() string { return "fleet_example_crm" }

// tellCRM stands for a request to the CRM. A job may run more than once, so the request must be
// idempotent.
func (s *service) tellCRM(ctx context.Context, job *river.Job[crmArgs]) error {
	_, err := s.db.ExecContext(ctx, `UPDATE replies SET crm_notified_at = now() WHERE business = $1 AND key = $2`,
		int64(job.Args.Business), job.Args.Key)
	return err
}
