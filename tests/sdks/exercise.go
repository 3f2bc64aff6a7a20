// Uses the generated client for Go as an integrator would; what exercise.py does, with webhooks that are signed by a pair of keys.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"ledger.example/clients/ledger"
)

type asked struct {
	URL          string    `json:"url"`
	Token        string    `json:"token"`
	LimitedToken string    `json:"limited_token"`
	Name         string    `json:"name"`
	HookURL      string    `json:"hook_url"`
	Newer        json.RawMessage `json:"newer"`
	Key          string    `json:"key"`
	Messages     []message `json:"messages"`
}

type message struct {
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
}

type told map[string]any

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func transfer(debit, credit string, minor int64) ledger.TransferRequest {
	return *ledger.NewTransferRequest(debit, credit, *ledger.NewMoney(minor, "EUR"))
}

func refusal(response *http.Response, err error) told {
	var refused *ledger.GenericOpenAPIError
	if !errors.As(err, &refused) {
		check(fmt.Errorf("no refusal of the ledger's: %v", err))
	}
	problem, is := refused.Model().(ledger.Problem)
	if !is {
		check(fmt.Errorf("no problem: %v", err))
	}
	fields := []string{}
	for _, one := range problem.Errors {
		fields = append(fields, one.Field)
	}
	found := told{"status": response.StatusCode, "code": problem.Code, "fields": fields}
	if problem.RetryAfterS != nil {
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		found["waits"] = err == nil && seconds >= 1 && *problem.RetryAfterS > 0
	}
	return found
}

func client(asked asked, token string) (*ledger.APIClient, context.Context) {
	configuration := ledger.NewConfiguration()
	configuration.Servers = ledger.ServerConfigurations{{URL: asked.URL}}
	ctx := context.Background()
	if token != "" {
		ctx = context.WithValue(ctx, ledger.ContextAccessToken, token)
	}
	return ledger.NewAPIClient(configuration), ctx
}

func use(asked asked) any {
	api, ctx := client(asked, asked.Token)
	name := asked.Name
	alice, bob := name+"-alice", name+"-bob"
	found := told{}
	create := func(key string, request ledger.TransferRequest) (*ledger.TransactionAccepted, *http.Response, error) {
		return api.TransfersAPI.CreateTransfer(ctx).IdempotencyKey(name + "-" + key).TransferRequest(request).Execute()
	}
	became := func(id string) *ledger.Transaction {
		for range 1200 {
			one, _, err := api.TransactionsAPI.GetTransaction(ctx, id).Execute()
			check(err)
			if one.State != "pending" {
				return one
			}
			time.Sleep(50 * time.Millisecond)
		}
		check(errors.New("it stayed pending"))
		return nil
	}
	first, response, err := create("1", transfer("external:bank", alice, 500))
	check(err)
	one := became(first.TransactionId)
	found["transfer"] = []any{one.State, one.GetKind(), one.Amount.Minor, one.Amount.Currency}
	position := response.Header.Get("Ledger-Position")
	balance, _, err := api.AccountsAPI.GetBalance(ctx, alice).LedgerPosition(position).Execute()
	check(err)
	found["balance"] = []any{balance.BalanceMinor, balance.AvailableMinor}
	// An answer of a later ledger, which says more.
	var newer ledger.Balance
	check(json.Unmarshal(asked.Newer, &newer))
	found["newer"] = newer.BalanceMinor
	again, response, err := create("1", transfer("external:bank", alice, 500))
	check(err)
	found["replayed"] = []any{again.TransactionId == first.TransactionId, response.Header.Get("Idempotent-Replay")}
	_, response, err = create("1", transfer("external:bank", alice, 501))
	found["reused"] = refusal(response, err)
	_, response, err = create("2", transfer(alice, alice, 1))
	found["wrong"] = refusal(response, err)
	_, response, err = api.AccountsAPI.GetBalance(ctx, name+"-nobody").Execute()
	found["unknown"] = refusal(response, err)

	items := []ledger.TransferRequest{transfer(alice, bob, 100), transfer(name+"-poor", bob, 1)}
	accepted, _, err := api.BatchesAPI.CreateBatch(ctx).IdempotencyKey(name + "-3").BatchRequest(*ledger.NewBatchRequest(items)).Execute()
	check(err)
	for range 1200 {
		batch, _, err := api.BatchesAPI.GetBatch(ctx, accepted.BatchId).Execute()
		check(err)
		if batch.State != "pending" {
			states := []any{batch.State}
			for _, item := range batch.Items {
				states = append(states, []any{item.State, item.Reason.Get()})
			}
			found["batch"] = states
			break
		}
		time.Sleep(50 * time.Millisecond)
	}

	request := transfer(alice, bob, 50)
	request.SetPending(*ledger.NewPendingTerms(600))
	pending, _, err := create("4", request)
	check(err)
	became(pending.TransactionId)
	part := ledger.NewPostRequest()
	part.SetAmount(*ledger.NewPostAmount(30))
	step, _, err := api.TransfersAPI.PostTransfer(ctx, pending.TransactionId).IdempotencyKey(name + "-5").PostRequest(*part).Execute()
	check(err)
	posted := became(step.TransactionId)
	hold := became(pending.TransactionId).GetHold()
	resolved := hold.ResolvedBy.Get()
	found["pending"] = []any{posted.State, posted.Amount.Minor, hold.State, resolved != nil && *resolved == step.TransactionId}
	balance, _, err = api.AccountsAPI.GetBalance(ctx, alice).Execute()
	check(err)
	found["left"] = []any{balance.BalanceMinor, balance.AvailableMinor}

	endpoint := ledger.NewWebhookEndpointRequest(asked.HookURL)
	endpoint.SetSignature("v1a")
	made, _, err := api.WebhookEndpointsAPI.CreateWebhookEndpoint(ctx).WebhookEndpointRequest(*endpoint).Execute()
	check(err)
	last, _, err := create("6", transfer(alice, bob, 1))
	check(err)
	_, _, err = api.WebhookEndpointsAPI.TestWebhookEndpoint(ctx, made.EndpointId).Execute()
	check(err)
	found["webhook"] = told{"endpoint_id": made.EndpointId, "transaction_id": last.TransactionId, "key": made.PublicKey.Get()}

	limited, limitedCtx := client(asked, asked.LimitedToken)
	refusals := make(chan told)
	for range 50 {
		go func() { // together, for one a second passes
			_, response, err := limited.AccountsAPI.GetBalance(limitedCtx, "nobody").Execute()
			refusals <- refusal(response, err)
		}()
	}
	for range 50 {
		if one := <-refusals; one["status"] == http.StatusTooManyRequests {
			found["limited"] = one
		}
	}
	stranger, strangerCtx := client(asked, "")
	_, response, err = stranger.AccountsAPI.GetBalance(strangerCtx, "nobody").Execute()
	found["stranger"] = refusal(response, err)
	return found
}

func hear(asked asked) any {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(asked.Key, "whpk_"))
	check(err)
	found := []any{}
	for _, one := range asked.Messages {
		encoded, is := strings.CutPrefix(one.Headers["webhook-signature"], "v1a,")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		content := one.Headers["webhook-id"] + "." + one.Headers["webhook-timestamp"] + "." + one.Body
		if !is || err != nil || !ed25519.Verify(key, []byte(content), signature) {
			check(errors.New("a signature that is wrong"))
		}
		var test ledger.WebhookEndpointTestEvent
		var posted ledger.TransactionPostedEvent
		if json.Unmarshal([]byte(one.Body), &test) == nil && test.Type == "webhook_endpoint.test" {
			found = append(found, []any{test.Type, test.Data.EndpointId})
		} else {
			check(json.Unmarshal([]byte(one.Body), &posted))
			found = append(found, []any{posted.Type, posted.Data.TransactionId})
		}
	}
	return found
}

func main() {
	var given asked
	check(json.NewDecoder(os.Stdin).Decode(&given))
	phases := map[string]func(asked) any{"use": use, "hear": hear}
	check(json.NewEncoder(os.Stdout).Encode(phases[os.Args[1]](given)))
}
