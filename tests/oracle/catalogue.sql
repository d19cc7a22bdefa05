-- Every type and table shape that the goldens cover. Run before the snapshot; changes.sql follows while the engine streams.
create extension hstore; create extension citext; create extension ltree; create extension isn;
create type mood as enum ('sad', 'ok', 'happy');
alter type mood add value 'meh' before 'ok';
create type odd as enum ('a,b', 'c''d', '"e"', '');
create schema "my-app";
create type "my-app".mood as enum ('x', 'y');
create type pair as (a int, b text);
create domain positive as int check (value > 0) default 7;
create domain price as numeric(8, 3);
create domain discount as price;
create domain code as varchar(5) not null;
create domain ints as int[];
create domain stamp as timestamp(3);

create table numbers (id int primary key, i2 smallint, i4 int, i8 bigint, o oid, r real, d double precision);
create table decimals (id int primary key, n numeric(10,2), w numeric(38,0), f numeric(40,20), s numeric(3,5), neg numeric(5,-2), v numeric, m money);
create table texts (id int primary key, b boolean, c char(5), c1 char, v varchar(10), vu varchar, t text, ci citext, bp bpchar, by bytea);
create table moments (id int primary key, d date,
  t time, t0 time(0), t3 time(3), t6 time(6), tz timetz, tz0 timetz(0), tz3 timetz(3),
  ts timestamp, ts0 timestamp(0), ts1 timestamp(1), ts3 timestamp(3), ts4 timestamp(4), ts6 timestamp(6),
  tsz timestamptz, tsz0 timestamptz(0), tsz3 timestamptz(3), tsz5 timestamptz(5));
create table intervals (id int primary key, iv interval, iv0 interval(0), dts interval day to second, ym interval year to month);
create table misc (id int primary key, u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, ma macaddr, ma8 macaddr8,
  b1 bit(1), b bit, b8 bit(8), b12 bit(12), b64 bit(64), b70 bit(70), vb varbit, vb10 varbit(10), vb1 varbit(1),
  e mood, e2 odd, e3 "my-app".mood);
create table domains (id int primary key, p positive, pr price, di discount, co code, ints ints, st stamp);
create table extras (id int primary key, i4r int4range, i8r int8range, nr numrange, tr tsrange, tzr tstzrange, dr daterange, mr int4multirange,
  pt point, li line, ls lseg, bx box, pa path, po polygon, ci circle,
  hs hstore, lt ltree, isb isbn, tv tsvector, tq tsquery, comp pair, lsn pg_lsn, x8 xid8, nm name, ch "char", iv int2vector, ov oidvector, rc regclass, jp jsonpath, lq lquery);
create table arrays (id int primary key, b boolean[], i2 smallint[], i4 int[], i8 bigint[], o oid[], r real[], d double precision[],
  n numeric[], n2 numeric(10,2)[], t text[], v varchar(5)[], c char(3)[], ci citext[],
  da date[], ti time[], ti3 time(3)[], tz timetz[], ts timestamp[], ts3 timestamp(3)[], tsz timestamptz[],
  u uuid[], j json[], jb jsonb[], ip inet[], cid cidr[], ma macaddr[], e mood[], i4r int4range[], tzr tstzrange[], hs hstore[], lt ltree[]);
create table odd_arrays (id int primary key, m money[], by bytea[], iv interval[], x xml[], ma8 macaddr8[], b1 bit(1)[], b8 bit(8)[], vb varbit[], pt point[], p positive[], pr price[], nm name[], comp pair[], e3 "my-app".mood[]);

create table required (id int primary key, b boolean not null, i2 smallint not null, i4 int not null, i8 bigint not null, o oid not null,
  r real not null, d double precision not null, n numeric(10,2) not null, vn numeric not null, m money not null,
  c char(5) not null, v varchar(10) not null, t text not null, by bytea not null,
  da date not null, ti time not null, ti3 time(3) not null, tz timetz not null, ts timestamp not null, ts3 timestamp(3) not null, tsz timestamptz not null,
  iv interval not null, u uuid not null, j json not null, jb jsonb not null, x xml not null, ip inet not null, ci cidr not null, ma macaddr not null,
  b1 bit(1) not null, b12 bit(12) not null, vb varbit not null, e mood not null, a int[] not null, ta text[] not null,
  pt point not null, hs hstore not null, r4 int4range not null, p positive not null, lt ltree not null);

create table defaults (id int primary key, b boolean default true, i2 smallint default -2, i4 int default 42, i8 bigint default 9000000000, o oid default 5,
  r real default 1.5, d double precision default '-Infinity', n numeric(10,2) default 1.5, vn numeric default 1.250, m money default 12.5,
  c char(5) default 'ab', v varchar(10) default 'it''s', t text default E'a\\b\n''c''', t2 text default '', t3 text default NULL, v2 varchar(3) default NULL::varchar,
  t4 text default 'NULL', t5 text default 'now()', by bytea default '\xdead00', da date default '2020-02-29', ti time default '12:34:56.789', ti3 time(3) default '01:02:03.004',
  tz timetz default '12:34:56+02', ts timestamp default '2020-01-01 00:00:00.123456', ts3 timestamp(3) default '2020-01-01 00:00:00.123', tsz timestamptz default '2020-01-01 00:00:00+02',
  iv interval default '1 day 02:03:04', u uuid default '00000000-0000-0000-0000-000000000001', j json default '{"a": 1}', jb jsonb default '{"a":   1}', x xml default '<a/>',
  ip inet default '10.0.0.1', ma macaddr default '08:00:2b:01:02:03', b1 bit(1) default B'1', b12 bit(12) default B'000000001111', vb varbit default B'101',
  e mood default 'ok', a int[] default '{1,2}', ta text[] default array['a','b'], ta0 text[] default '{}', p positive, p9 positive default 9, hs hstore default 'a=>1', r4 int4range default '[1,3)');
create table defaults_required (id int primary key, b boolean not null default false, i2 smallint not null default -2, i4 int not null default 42, i8 bigint not null default 9000000000, o oid not null default 5,
  r real not null default 1.5, d double precision not null default 2.5, n numeric(10,2) not null default -1.5, vn numeric not null default 1.250, m money not null default 12.5,
  c char(5) not null default 'ab', v varchar(10) not null default 'it''s', t text not null default E'a\\b\n''c''', t2 text not null default '', by bytea not null default '\xdead00',
  da date not null default '2020-02-29', ti time not null default '12:34:56.789', ti3 time(3) not null default '01:02:03.004',
  tz timetz not null default '12:34:56+02', ts timestamp not null default '2020-01-01 00:00:00.123456', ts3 timestamp(3) not null default '2020-01-01 00:00:00.123', tsz timestamptz not null default '2020-01-01 00:00:00+02',
  iv interval not null default '1 day 02:03:04', u uuid not null default '00000000-0000-0000-0000-000000000001', j json not null default '{"a": 1}', jb jsonb not null default '{"a":   1}', x xml not null default '<a/>',
  ip inet not null default '10.0.0.1', ma macaddr not null default '08:00:2b:01:02:03', b1 bit(1) not null default B'1', b12 bit(12) not null default B'000000001111', vb varbit not null default B'101',
  e mood not null default 'ok', a int[] not null default '{1,2}', ta text[] not null default array['a','b'], p positive not null, p9 positive not null default 9);
create sequence seq;
create table computed_defaults (id serial primary key, ident int generated always as identity, ident2 bigint generated by default as identity, s int default nextval('seq'), sr int not null default nextval('seq'),
  n timestamptz default now(), nr timestamptz not null default now(), d date not null default current_date, ts timestamp not null default localtimestamp, ts3 timestamp(3) not null default clock_timestamp(), u uuid not null default gen_random_uuid(),
  t text not null default current_user, up text not null default upper('x'), expr int not null default 1 + 1, exprn int default 2 * 3, neg int default (- 5), par int default (5), cat text default 'a' || 'b', cast1 int default '12'::int, cast2 bigint default 3::smallint, cast3 text default 5::text, cast4 numeric(10,2) default 7::int, r double precision not null default random(),
  arr int[] not null default array[]::int[], b boolean default (not true), ep timestamptz default 'epoch', inf timestamptz default 'infinity', dinf date default '-infinity', tinf timestamp default 'infinity');

create table "2nd" ("3rd" int primary key, "a.b" text);
create table pair_key (a text, b int, c bigint, v text, primary key (c, a));
create table keyless (a int, b text);
create table unique_only (a int not null, b int not null, c text);
create unique index unique_only_b on unique_only (b);
create table unique_nullable (a int, b int, c text);
create unique index unique_nullable_b on unique_nullable (b);
create table unique_two (a int not null, b int not null, c text);
create unique index unique_two_z on unique_two (a);
create unique index unique_two_c on unique_two (b, a);
create table by_index (a int not null, b int not null, c text, d text not null);
create unique index by_index_b on by_index (b);
alter table by_index replica identity using index by_index_b;
create table by_index_and_key (a int primary key, b int not null, c text, d text not null);
create unique index by_index_and_key_b on by_index_and_key (b);
alter table by_index_and_key replica identity using index by_index_and_key_b;
create table full_image (id int primary key, v text, w text not null, n numeric(5,2));
alter table full_image replica identity full;
create table full_keyless (a int, b text);
alter table full_keyless replica identity full;
create table nothing_image (id int primary key, v text);
alter table nothing_image replica identity nothing;
create table default_image (id int primary key, v text, w text not null, x int not null default 5, m mood not null, e text default 'd');
create table "my-app"."order-items" ("order-id" int primary key, "1st" text, "größe" int, "a b" text, "A" text, select_ text, "_x" text, "$y" text);
create table toasted (id int primary key, n int, t text, v varchar, j json, jb jsonb, b bytea, ta text[], ia int[], ba bigint[], ua uuid[], sa smallint[], da double precision[], ja jsonb[], dta date[], x xml, hs hstore, nu numeric, nu2 numeric(1000,2), vb varbit, c citext, lt ltree, tv tsvector, r int4range, bpc char(500), nt text not null, nb bytea not null, nia int[] not null, po polygon, tr tstzrange, tza timestamptz[], na numeric[], ba2 boolean[], inet_a inet[], ea mood[], filler text);
alter table toasted alter column filler set storage plain;
create table toasted_full (like toasted including all); alter table toasted_full replica identity full;
do $$ declare c record; begin
  for c in select attrelid::regclass t, attname from pg_attribute where attrelid in ('toasted'::regclass, 'toasted_full'::regclass) and attnum > 0 and attstorage in ('x', 'm') loop
    execute format('alter table %s alter column %I set storage external', c.t, c.attname);
  end loop; end $$;
