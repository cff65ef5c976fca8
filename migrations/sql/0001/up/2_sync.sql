-- The inbox, and the daemon's bookkeeping. The schema sync exists already, because it has the table of revisions.

comment on schema sync is 'The inbox of stripe-sync, and its bookkeeping.';

CREATE TABLE sync.accounts (
    id TEXT NOT NULL,
    status TEXT DEFAULT 'connected' NOT NULL,
    last_event_at TIMESTAMP WITH TIME ZONE,
    last_pass_at TIMESTAMP WITH TIME ZONE,
    events_until BIGINT,
    rounds INTEGER DEFAULT 0 NOT NULL,
    error TEXT,
    leased_until TIMESTAMP WITH TIME ZONE,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (id),
    CONSTRAINT ck_accounts_status_is_known CHECK (status in ('connected', 'deauthorized'))
);
COMMENT ON TABLE sync.accounts IS 'Connected accounts (CONNECT=on) and how far each has been read.';
COMMENT ON COLUMN sync.accounts.last_event_at IS 'Stripe''s time of its newest event';
COMMENT ON COLUMN sync.accounts.last_pass_at IS 'when it was last read from Stripe';
COMMENT ON COLUMN sync.accounts.events_until IS 'its list of events was read up to this second; null: never';
COMMENT ON COLUMN sync.accounts.rounds IS 'how often all lists were read';
COMMENT ON COLUMN sync.accounts.error IS 'error of the last pass';
COMMENT ON COLUMN sync.accounts.leased_until IS 'one worker reads it until then at most';
CREATE INDEX ix_accounts_turn ON sync.accounts (last_pass_at) WHERE status = 'connected';

CREATE TABLE sync.adoption (
    is_only BOOLEAN DEFAULT true NOT NULL,
    adopted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    tokens_since TIMESTAMP WITH TIME ZONE,
    names JSONB NOT NULL,
    CONSTRAINT pk_adoption PRIMARY KEY (is_only),
    CONSTRAINT ck_adoption_is_one_row CHECK (is_only)
);
COMMENT ON TABLE sync.adoption IS 'How an application''s existing tables were adopted; empty if the daemon created them.';
COMMENT ON COLUMN sync.adoption.is_only IS 'the table has one row at most';
COMMENT ON COLUMN sync.adoption.tokens_since IS 'earlier payments grant no tokens, because the application has granted them already';
COMMENT ON COLUMN sync.adoption.names IS 'tables, columns and types that have other names here';

CREATE TABLE sync.audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (id)
);
COMMENT ON TABLE sync.audit_log IS 'Actions of people in the console.';

CREATE TABLE sync.change_drafts (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    user_id TEXT NOT NULL,
    type TEXT NOT NULL,
    before JSONB NOT NULL,
    after JSONB NOT NULL,
    reason TEXT NOT NULL,
    sources TEXT[] DEFAULT '{}' NOT NULL,
    traceparent TEXT,
    CONSTRAINT pk_change_drafts PRIMARY KEY (id)
);
COMMENT ON TABLE sync.change_drafts IS 'Changes of a transaction that has not committed. A trigger moves them to `changes` at the commit.';
COMMENT ON COLUMN sync.change_drafts.user_id IS 'no foreign key: the change outlives the user';
COMMENT ON COLUMN sync.change_drafts.reason IS 'the name of the rule, as in `why`';
COMMENT ON COLUMN sync.change_drafts.sources IS 'the Stripe objects behind the change';
COMMENT ON COLUMN sync.change_drafts.traceparent IS 'the span that made it, as a W3C traceparent';

CREATE TABLE sync.changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    user_id TEXT NOT NULL,
    type TEXT NOT NULL,
    before JSONB NOT NULL,
    after JSONB NOT NULL,
    reason TEXT NOT NULL,
    sources TEXT[] DEFAULT '{}' NOT NULL,
    traceparent TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_changes PRIMARY KEY (id),
    CONSTRAINT ck_changes_type_is_known CHECK (type in ('access.granted', 'access.revoked', 'features.changed', 'subscription.changed', 'subscription.renewed', 'tokens.granted', 'tokens.low', 'payment.failed'))
);
COMMENT ON TABLE sync.changes IS 'Changes of users, each written in the transaction that changed the user.';
COMMENT ON COLUMN sync.changes.id IS 'in the order of commits';
COMMENT ON COLUMN sync.changes.user_id IS 'no foreign key: the change outlives the user';
COMMENT ON COLUMN sync.changes.reason IS 'the name of the rule, as in `why`';
COMMENT ON COLUMN sync.changes.sources IS 'the Stripe objects behind the change';
COMMENT ON COLUMN sync.changes.traceparent IS 'the span that made it, as a W3C traceparent';
CREATE INDEX ix_changes_created_at ON sync.changes (created_at);
CREATE INDEX ix_changes_user_id_id ON sync.changes (user_id, id);

CREATE TABLE sync.counters (
    name TEXT NOT NULL,
    value BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_counters PRIMARY KEY (name)
);
COMMENT ON TABLE sync.counters IS 'Counters of the workers, for GET /metrics: workers listen on no port.';

CREATE TABLE sync.cursors (
    name TEXT NOT NULL,
    value JSONB NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_cursors PRIMARY KEY (name)
);
COMMENT ON TABLE sync.cursors IS 'Progress of jobs that read Stripe page by page.';

CREATE TABLE sync.drift (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    object TEXT NOT NULL,
    object_id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    fields TEXT[] NOT NULL,
    behind INTERVAL,
    found_by TEXT NOT NULL,
    found_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_drift PRIMARY KEY (id)
);
COMMENT ON TABLE sync.drift IS 'Differences between Stripe''s lists and the mirror, each repaired when it was found.';
COMMENT ON COLUMN sync.drift.fields IS 'top-level fields that differed';
COMMENT ON COLUMN sync.drift.behind IS 'age of the mirrored state';
CREATE INDEX ix_drift_object_id ON sync.drift (object_id);

CREATE TABLE sync.erased (
    id TEXT NOT NULL,
    object TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    user_id TEXT,
    erased_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    swept_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_erased PRIMARY KEY (id, object, account)
);
COMMENT ON TABLE sync.erased IS 'Erased users and objects (privacy): every writer blanks these, and all that belongs to them.';
COMMENT ON COLUMN sync.erased.object IS 'Stripe''s type, or `user`';
COMMENT ON COLUMN sync.erased.user_id IS 'the user of a requested erasure, empty if there is none; null: listed because it belongs to one. No foreign key';
COMMENT ON COLUMN sync.erased.swept_at IS 'when its stored personal data was blanked; null: not yet';
CREATE INDEX ix_erased_unswept ON sync.erased (erased_at) WHERE swept_at is null;

CREATE TABLE sync.events (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    type TEXT NOT NULL,
    object_type TEXT,
    object_id TEXT,
    livemode BOOLEAN NOT NULL,
    created TIMESTAMP WITH TIME ZONE NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    body TEXT NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    outcome TEXT,
    attempts INTEGER DEFAULT 0 NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_error TEXT,
    done_at TIMESTAMP WITH TIME ZONE,
    traceparent TEXT,
    signed_by TEXT,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT ck_events_status_is_known CHECK (status in ('pending', 'done', 'parked'))
);
COMMENT ON TABLE sync.events IS 'The inbox: events as Stripe sent them. A pending event is due once next_attempt_at has passed.';
COMMENT ON COLUMN sync.events.account IS 'connected account; empty for our own';
COMMENT ON COLUMN sync.events.object_type IS 'data.object.object, or the related object''s type of a thin event';
COMMENT ON COLUMN sync.events.created IS 'Stripe''s clock';
COMMENT ON COLUMN sync.events.body IS 'as received, without U+0000';
COMMENT ON COLUMN sync.events.traceparent IS 'the span that received it, as a W3C traceparent';
COMMENT ON COLUMN sync.events.signed_by IS 'fingerprint of the secret that signed it, until the secret is proven to be ours';
CREATE INDEX ix_events_created ON sync.events (created, id);
CREATE INDEX ix_events_due ON sync.events (next_attempt_at) WHERE status = 'pending';
CREATE INDEX ix_events_object ON sync.events (object_id, created);
CREATE INDEX ix_events_parked ON sync.events (created) WHERE status = 'parked';
CREATE INDEX ix_events_signed_by ON sync.events (signed_by, received_at) WHERE signed_by is not null;

CREATE TABLE sync.heartbeats (
    name TEXT NOT NULL,
    lane TEXT DEFAULT '' NOT NULL,
    task TEXT,
    since TIMESTAMP WITH TIME ZONE,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_heartbeats PRIMARY KEY (name)
);
COMMENT ON TABLE sync.heartbeats IS 'Child processes of workers; each writes its own row.';
COMMENT ON COLUMN sync.heartbeats.task IS 'the current task; null: waiting';
COMMENT ON COLUMN sync.heartbeats.since IS 'when the current task began';

CREATE TABLE sync.minutes (
    minute TIMESTAMP WITH TIME ZONE NOT NULL,
    received BIGINT NOT NULL,
    applied BIGINT NOT NULL,
    requests BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_minutes PRIMARY KEY (minute)
);
COMMENT ON TABLE sync.minutes IS 'Totals of events received and applied, and of requests to Stripe, at each minute of the last days, for charts.';
COMMENT ON COLUMN sync.minutes.received IS 'since the first event';
COMMENT ON COLUMN sync.minutes.applied IS 'since the first event';
COMMENT ON COLUMN sync.minutes.requests IS 'to Stripe, since the first request';

CREATE TABLE sync.organization_queue (
    organization_id TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    place TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_organization_queue PRIMARY KEY (organization_id)
);
COMMENT ON TABLE sync.organization_queue IS 'Organizations whose users are computed again, because a subscription that names them changed.';
COMMENT ON COLUMN sync.organization_queue.organization_id IS 'no foreign key: Stripe''s metadata may name any';
COMMENT ON COLUMN sync.organization_queue.place IS 'users with ids up to this one are already computed';

CREATE TABLE sync.product_change_users (
    user_id TEXT NOT NULL,
    CONSTRAINT pk_product_change_users PRIMARY KEY (user_id)
);
COMMENT ON TABLE sync.product_change_users IS 'Users who are computed next, because one of their products changed.';
COMMENT ON COLUMN sync.product_change_users.user_id IS 'no foreign key: this row is locked before the user';

CREATE TABLE sync.product_changes (
    product_id TEXT NOT NULL,
    features_read_at TIMESTAMP WITH TIME ZONE,
    noted_at TIMESTAMP WITH TIME ZONE,
    horizon BIGINT,
    CONSTRAINT pk_product_changes PRIMARY KEY (product_id)
);
COMMENT ON TABLE sync.product_changes IS 'Products: when their features were last read, and since when their users wait to be computed.';
COMMENT ON COLUMN sync.product_changes.features_read_at IS 'when a pass last read its features completely; null: never';
COMMENT ON COLUMN sync.product_changes.noted_at IS 'since when its users wait to be computed; null: no user waits';
COMMENT ON COLUMN sync.product_changes.horizon IS 'a transaction id: older transactions may have written without seeing the change';
CREATE INDEX ix_product_changes_noted ON sync.product_changes (noted_at) WHERE noted_at is not null;

CREATE TABLE sync.rechecks (
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    noted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    horizon BIGINT,
    CONSTRAINT pk_rechecks PRIMARY KEY (object, id)
);
COMMENT ON TABLE sync.rechecks IS 'Work to repeat because a concurrent transaction was invisible: users, and objects that refer to a missing object.';
COMMENT ON COLUMN sync.rechecks.object IS '`user`, or the type of an object that names no customer itself';
COMMENT ON COLUMN sync.rechecks.horizon IS 'a transaction id: older transactions may have written without seeing ours';

CREATE TABLE sync.recompute_queue (
    stripe_customer_id TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    deferred BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_recompute_queue PRIMARY KEY (stripe_customer_id)
);
COMMENT ON TABLE sync.recompute_queue IS 'Customers whose users are computed again, because an object they refer to arrived late.';
COMMENT ON COLUMN sync.recompute_queue.deferred IS 'true: it waits until the backfill has ended';
CREATE INDEX ix_recompute_queue_deferred ON sync.recompute_queue (stripe_customer_id) WHERE deferred;
CREATE INDEX ix_recompute_queue_due ON sync.recompute_queue (requested_at) WHERE not deferred;

CREATE TABLE sync.refetch_queue (
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    path TEXT NOT NULL,
    event_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    missing_at TIMESTAMP WITH TIME ZONE,
    error TEXT,
    CONSTRAINT pk_refetch_queue PRIMARY KEY (object, id, account)
);
COMMENT ON TABLE sync.refetch_queue IS 'Objects to read from Stripe: one row per object, however many events left it unsettled.';
COMMENT ON COLUMN sync.refetch_queue.path IS 'of the GET request';
COMMENT ON COLUMN sync.refetch_queue.event_at IS 'time of the newest event; only a read 5 s later settles the object';
COMMENT ON COLUMN sync.refetch_queue.missing_at IS 'time of Stripe''s first 404 for it';
CREATE INDEX ix_refetch_queue_due_at ON sync.refetch_queue (due_at);
CREATE INDEX ix_refetch_queue_connected ON sync.refetch_queue (account) WHERE account <> '';

CREATE TABLE sync.runs (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    job TEXT NOT NULL,
    slot TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    result JSONB,
    error TEXT,
    CONSTRAINT pk_runs PRIMARY KEY (id),
    CONSTRAINT ck_runs_outcome_is_known CHECK (outcome in ('done', 'failed', 'lost'))
);
COMMENT ON TABLE sync.runs IS 'Runs of periodic jobs: start, duration and result. A worker claims a slot by inserting it.';
COMMENT ON COLUMN sync.runs.slot IS 'the tick of the clock that this run is for';
COMMENT ON COLUMN sync.runs.seen_at IS 'when the run last reported that it is alive';
CREATE UNIQUE INDEX uq_runs_job_running ON sync.runs (job) WHERE finished_at is null;
CREATE UNIQUE INDEX uq_runs_job_slot ON sync.runs (job, slot);

CREATE TABLE sync.token_grants (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    source_key TEXT NOT NULL,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount BIGINT NOT NULL,
    balance_before BIGINT NOT NULL,
    balance_after BIGINT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    stripe_product_id TEXT,
    stripe_subscription_id TEXT,
    stripe_invoice_id TEXT,
    owner TEXT,
    identity TEXT,
    money BIGINT DEFAULT 0 NOT NULL,
    period_start TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    lots JSONB,
    history JSONB,
    CONSTRAINT pk_token_grants PRIMARY KEY (id),
    CONSTRAINT uq_token_grants_source_key UNIQUE (source_key)
);
COMMENT ON TABLE sync.token_grants IS 'The ledger: every change that the daemon made to users.tokens.';
COMMENT ON COLUMN sync.token_grants.source_key IS 'identifies the source of the change, which counts only once';
COMMENT ON COLUMN sync.token_grants.user_id IS 'no foreign key: the ledger outlives the user';
COMMENT ON COLUMN sync.token_grants.amount IS 'tokens that the source gives or takes; the balance may change by a different number';
COMMENT ON COLUMN sync.token_grants.expires_at IS 'when the balance after this change expires';
COMMENT ON COLUMN sync.token_grants.owner IS 'key of the allowance: a subscription item, or a subscription and price; empty for packs';
COMMENT ON COLUMN sync.token_grants.identity IS 'identifies the paid line, even if Stripe reports it under another id';
COMMENT ON COLUMN sync.token_grants.money IS 'the returned money that this row accounts for; negative if it was not returned after all';
COMMENT ON COLUMN sync.token_grants.period_start IS 'start of the paid line''s period';
COMMENT ON COLUMN sync.token_grants.lots IS 'the parts of the balance after this change, by grant';
COMMENT ON COLUMN sync.token_grants.history IS 'the recent history of the balance, in the last row of a computation';
CREATE INDEX ix_token_grants_stripe_invoice_id ON sync.token_grants (stripe_invoice_id);
CREATE INDEX ix_token_grants_user_id_id ON sync.token_grants (user_id, id);

CREATE TABLE sync.webhook_secrets (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    verdict TEXT,
    reason TEXT,
    judged_at TIMESTAMP WITH TIME ZONE,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_webhook_secrets PRIMARY KEY (id),
    CONSTRAINT ck_webhook_secrets_verdict_is_known CHECK (verdict in ('ours', 'assumed', 'foreign'))
);
COMMENT ON TABLE sync.webhook_secrets IS 'The webhook secrets of the web processes, and whether each belongs to our own Stripe account.';
COMMENT ON COLUMN sync.webhook_secrets.id IS 'the fingerprint of the secret, which is not stored itself';
COMMENT ON COLUMN sync.webhook_secrets.account IS 'the account that the settings bind it to; empty for none';
COMMENT ON COLUMN sync.webhook_secrets.verdict IS 'whether it is ours; null: not known yet, and its events are held';
COMMENT ON COLUMN sync.webhook_secrets.seen_at IS 'when a web process last reported it';

CREATE TABLE sync.absences (
    run_id BIGINT NOT NULL,
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    list TEXT NOT NULL,
    rev BIGINT NOT NULL,
    read_at BIGINT,
    attempts INTEGER DEFAULT 0 NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_absences PRIMARY KEY (run_id, object, id, account),
    CONSTRAINT fk_absences_run_id FOREIGN KEY(run_id) REFERENCES sync.runs (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.absences IS 'Mirrored objects that a list should have shown but did not. They are marked deleted when the list is complete.';
COMMENT ON COLUMN sync.absences.rev IS 'revision of the mirrored row when the list did not show it';
COMMENT ON COLUMN sync.absences.read_at IS 'when Stripe answered that it has no such object; null: not read yet';

CREATE TABLE sync.change_deliveries (
    change_id BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    parked BOOLEAN DEFAULT false NOT NULL,
    error TEXT,
    CONSTRAINT pk_change_deliveries PRIMARY KEY (change_id),
    CONSTRAINT fk_change_deliveries_change_id FOREIGN KEY(change_id) REFERENCES sync.changes (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.change_deliveries IS 'Changes that CHANGES_URL has not acknowledged.';
COMMENT ON COLUMN sync.change_deliveries.due_at IS 'while leased: the end of the lease';
CREATE INDEX ix_change_deliveries_due ON sync.change_deliveries (due_at) WHERE not parked;
CREATE INDEX ix_change_deliveries_next ON sync.change_deliveries (user_id, change_id) WHERE not parked;
CREATE INDEX ix_change_deliveries_parked ON sync.change_deliveries (change_id) WHERE parked;

CREATE TABLE sync.shards (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    run_id BIGINT NOT NULL,
    list TEXT DEFAULT '' NOT NULL,
    gte BIGINT,
    lt BIGINT,
    place JSONB,
    tally JSONB DEFAULT '{}' NOT NULL,
    besides JSONB DEFAULT '{}' NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE,
    leased_by TEXT,
    failures INTEGER DEFAULT 0 NOT NULL,
    retry_at TIMESTAMP WITH TIME ZONE,
    error TEXT,
    done BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_shards PRIMARY KEY (id),
    CONSTRAINT fk_shards_run_id FOREIGN KEY(run_id) REFERENCES sync.runs (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.shards IS 'Parts of a run over Stripe''s lists, by ranges of `created`, shared by threads and workers.';
COMMENT ON COLUMN sync.shards.list IS 'the name of one of Stripe''s lists';
COMMENT ON COLUMN sync.shards.gte IS 'first second of `created`; null: no lower bound';
COMMENT ON COLUMN sync.shards.lt IS 'first second after the range; null: no upper bound';
COMMENT ON COLUMN sync.shards.place IS 'progress of the pass; null: not begun';
COMMENT ON COLUMN sync.shards.tally IS 'counts of the pages, written by their reader';
COMMENT ON COLUMN sync.shards.besides IS 'counts of reads other than pages';
COMMENT ON COLUMN sync.shards.failures IS 'consecutive failures';
COMMENT ON COLUMN sync.shards.error IS 'why the list was given up in this run';
CREATE INDEX ix_shards_run_id ON sync.shards (run_id);

CREATE TABLE sync.customer_links (
    stripe_customer_id TEXT NOT NULL,
    user_id TEXT,
    source TEXT,
    linked_at TIMESTAMP WITH TIME ZONE,
    checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_customer_links PRIMARY KEY (stripe_customer_id),
    CONSTRAINT ck_customer_links_linked_at_tells_the_link CHECK ((user_id is null) = (linked_at is null)),
    CONSTRAINT fk_customer_links_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.customer_links IS 'The user behind each Stripe customer. A link is never silently changed.';
COMMENT ON COLUMN sync.customer_links.user_id IS 'null: the customer is not linked yet';
COMMENT ON COLUMN sync.customer_links.source IS 'the rule that linked it';
CREATE INDEX ix_customer_links_unlinked ON sync.customer_links (checked_at) WHERE user_id is null;
CREATE INDEX ix_customer_links_user_id ON sync.customer_links (user_id);

CREATE TABLE sync.feature_overrides (
    user_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    note TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_feature_overrides PRIMARY KEY (user_id, feature),
    CONSTRAINT fk_feature_overrides_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.feature_overrides IS 'Features given by an operator, regardless of Stripe.';
COMMENT ON COLUMN sync.feature_overrides.until IS 'null: until it is lifted';

CREATE TABLE sync.held_rows (
    relation TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT,
    reason TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_held_rows PRIMARY KEY (relation, id),
    CONSTRAINT fk_held_rows_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.held_rows IS 'Rows that a table of the application refuses. They are written when the table accepts them.';
COMMENT ON COLUMN sync.held_rows.relation IS 'our name of the table';
COMMENT ON COLUMN sync.held_rows.id IS 'Stripe''s id of the row';
COMMENT ON COLUMN sync.held_rows.user_id IS 'null: a product or a price';
COMMENT ON COLUMN sync.held_rows.reason IS 'why the table refuses the row';
CREATE INDEX ix_held_rows_user_id ON sync.held_rows (user_id);

CREATE TABLE sync.next_changes (
    user_id TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_next_changes PRIMARY KEY (user_id),
    CONSTRAINT fk_next_changes_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.next_changes IS 'When a user must be computed again without an event: a token period, a grace period or an override ends.';
CREATE INDEX ix_next_changes_due_at ON sync.next_changes (due_at);

CREATE TABLE sync.organization_members (
    user_id TEXT NOT NULL,
    organization_id TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_organization_members PRIMARY KEY (user_id),
    CONSTRAINT fk_organization_members_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.organization_members IS 'The last organization whose subscription entitled a user, now or in the past.';
COMMENT ON COLUMN sync.organization_members.organization_id IS 'no foreign key: it may be gone';

CREATE TABLE sync.overrides (
    user_id TEXT NOT NULL,
    role user_role NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    note TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_overrides PRIMARY KEY (user_id),
    CONSTRAINT ck_overrides_role_is_grantable CHECK (role in ('USER', 'PREMIUM')),
    CONSTRAINT fk_overrides_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.overrides IS 'Roles given by an operator, regardless of Stripe.';
COMMENT ON COLUMN sync.overrides.until IS 'null: until it is lifted';

CREATE TABLE sync.user_syncs (
    user_id TEXT NOT NULL,
    synced_at TIMESTAMP WITH TIME ZONE,
    leased_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_user_syncs PRIMARY KEY (user_id),
    CONSTRAINT fk_user_syncs_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE sync.user_syncs IS 'On-access reads of Stripe: how fresh each user is, and a lease, so that one process reads at a time.';
COMMENT ON COLUMN sync.user_syncs.synced_at IS 'all subscriptions were read from Stripe just after this time';
COMMENT ON COLUMN sync.user_syncs.leased_until IS 'one process reads Stripe for this user until then at most';

do $$
begin
    alter table sync.events alter column body set compression lz4;
exception when feature_not_supported or invalid_parameter_value then
    alter table sync.events alter column body set storage external;
end
$$;
