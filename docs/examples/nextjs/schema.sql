-- The application's own table; stripe-sync migrates the others.
create table if not exists app_handled_changes (id bigint primary key);
