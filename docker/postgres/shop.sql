-- Something to watch: change these rows with psql and see the events arrive.
create table customers (
    id bigint generated always as identity primary key,
    name text not null,
    email text not null,
    created_at timestamptz not null default now()
);

insert into customers (name, email)
select 'Customer ' || n, 'customer' || n || '@example.com' from generate_series(1, 100) n;
