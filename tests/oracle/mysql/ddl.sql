-- DDL while the engine streams, one statement a line: what of it reaches the topic of DDL events.
create table ddl_a (id int primary key, v varchar(20) character set latin1 not null default 'x' comment 'a comment', d decimal(10,2) default 1.5, e enum('a','b,c'), s set('x','y'), b tinyint(1), u int unsigned, ts timestamp(3) null default '2020-01-01 00:00:00', g int generated always as (id + 1) stored, bi binary(4), t text, j json, bt bit(5), y year, dt datetime(6), ti time(2), f float, r double, f2 float(7,4), bl blob, p point) comment 'the table'
create table ddl_b (id bigint unsigned not null auto_increment primary key, c char(3), now_ timestamp not null default current_timestamp) default charset latin1
alter table ddl_a add column n int not null default 5 after id, drop column r, modify v varchar(40), add index (v)
alter table ddl_a rename column n to m
alter table ddl_b drop primary key, modify id bigint unsigned not null
create index ddl_i on ddl_b (c)
rename table ddl_a to ddl_c, ddl_b to ddl_d
alter table ddl_c rename to ddl_e
truncate table ddl_d
create table ddl_like like ddl_e
create table ddl_select as select id, m from ddl_e
create view ddl_view as select id from ddl_e
drop view ddl_view
drop table ddl_d, ddl_e
drop table if exists ddl_like, ddl_select, ddl_nothing
create database ddl_other
create table ddl_other.t (a int)
alter database ddl_other character set latin1
drop database ddl_other
