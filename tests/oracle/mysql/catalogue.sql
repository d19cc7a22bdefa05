-- Every type and table shape that the goldens cover. Run before the snapshot; changes.sql follows while the engine streams.
-- What stands behind "-- mysql:" or "-- mariadb118:" no other server has.
create table ints (id int primary key, i1 tinyint, i2 smallint, i3 mediumint, i4 int, i8 bigint, b boolean, t1 tinyint(1), d5 int(5), z int(5) zerofill, z1 tinyint(1) zerofill);
create table unsigned_ints (id int unsigned primary key, u1 tinyint unsigned, u2 smallint unsigned, u3 mediumint unsigned, u4 int unsigned, u8 bigint unsigned, t1 tinyint(1) unsigned);
create table serials (id serial primary key, v int);
create table decimals (id int primary key, d decimal(10,2), w decimal(65,30), z decimal(65,0), s decimal(30,30), n numeric(5), f decimal, du decimal(10,2) unsigned, dz decimal(8,3), nine decimal(9,0), g decimal(19,10));
create table floats (id int primary key, f float, d double, r real, f24 float(24), f25 float(25), f74 float(7,4), d105 double(10,5), fu float unsigned, du double unsigned);
create table bits (id int primary key, b bit, b1 bit(1), b3 bit(3), b8 bit(8), b9 bit(9), b14 bit(14), b33 bit(33), b64 bit(64));
create table moments (id int primary key, y year, d date, dt datetime, dt1 datetime(1), dt2 datetime(2), dt3 datetime(3), dt4 datetime(4), dt5 datetime(5), dt6 datetime(6),
  ts timestamp null, ts1 timestamp(1) null, ts2 timestamp(2) null, ts3 timestamp(3) null, ts4 timestamp(4) null, ts5 timestamp(5) null, ts6 timestamp(6) null,
  t time, t1 time(1), t2 time(2), t3 time(3), t4 time(4), t5 time(5), t6 time(6));
create table zeros (id int primary key, d date, dt datetime, dt6 datetime(6), ts timestamp null, ts6 timestamp(6) null, y year);
create table texts (id int primary key, c char(5), c0 char(0), v varchar(10), v0 varchar(0), v300 varchar(300), tt tinytext, t text, mt mediumtext, lt longtext, nc nchar(5), nv nvarchar(5),
  b binary(4), vb varbinary(10), tb tinyblob, bl blob, mb mediumblob, lb longblob, cb char(3) character set binary, tx text character set binary);
create table charsets (id int primary key, latin1 varchar(50) character set latin1, latin2 varchar(50) character set latin2, latin5 varchar(50) character set latin5, latin7 varchar(50) character set latin7,
  cp1250 varchar(50) character set cp1250, cp1251 varchar(50) character set cp1251, cp1256 varchar(50) character set cp1256, cp1257 varchar(50) character set cp1257, koi8r varchar(50) character set koi8r, koi8u varchar(50) character set koi8u,
  cp850 varchar(50) character set cp850, cp852 varchar(50) character set cp852, cp866 varchar(50) character set cp866, greek varchar(50) character set greek, hebrew varchar(50) character set hebrew, tis620 varchar(50) character set tis620,
  ascii varchar(50) character set ascii, gbk varchar(50) character set gbk, gb2312 varchar(50) character set gb2312, big5 varchar(50) character set big5, sjis varchar(50) character set sjis, cp932 varchar(50) character set cp932,
  ujis varchar(50) character set ujis, eucjpms varchar(50) character set eucjpms, euckr varchar(50) character set euckr, ucs2 varchar(50) character set ucs2, utf16 varchar(50) character set utf16, utf16le varchar(50) character set utf16le, utf32 varchar(50) character set utf32,
  utf8mb3 varchar(50) character set utf8mb3, bin varchar(50) character set latin1 collate latin1_bin, tx text character set sjis, c char(5) character set gbk);
create table choices (id int primary key, e enum('a','b'), odd enum('x y','it''s','"q"','tab	x',''), s set('a','b','c'), one set('only'), l1 enum('größe','naïve') character set latin1, ls set('ä','ö') character set latin1, u enum('日本','ü') character set utf8mb4, cyr enum('да','нет') character set cp1251);
create table commas (id int primary key, e enum('a','b,c'));
create table json_values (id int primary key, j json);
create table shapes (id int primary key, g geometry, p point, l linestring, po polygon, mp multipoint, ml multilinestring, mpo multipolygon, gc geometrycollection);
-- mysql: create table srids (id int primary key, p point srid 4326, g geometry srid 0, c geomcollection);
-- mysql: create table vectors (id int primary key, v vector(3), w vector(7));
-- mariadb118: create table vectors (id int primary key, v vector(3), w vector(7));

create table required (id int not null primary key, i1 tinyint not null, i2 smallint not null, i4 int not null, i8 bigint not null, u8 bigint unsigned not null, b boolean not null, b1 bit(1) not null, b12 bit(12) not null, d decimal(10,2) not null, f float not null, r double not null,
  y year not null, da date not null, dt datetime not null, dt6 datetime(6) not null, ts timestamp not null, ts6 timestamp(6) not null, ti time not null, t6 time(6) not null, c char(5) not null, v varchar(10) not null, t text not null, bi binary(4) not null, vb varbinary(4) not null, bl blob not null,
  e enum('a','b') not null, s set('a','b') not null, j json not null, g geometry not null, p point not null, l linestring not null);
create table defaults (id int primary key, i1 tinyint default -2, i2 smallint default -2, i3 mediumint default 7, i4 int default 42, i8 bigint default 9000000000, u4 int unsigned default 4294967295, u8 bigint unsigned default 18446744073709551615, b boolean default true, t1 tinyint(1) default 3, b1 bit(1) default b'1', b12 bit(12) default b'101', d decimal(10,2) default 1.5, d0 decimal(5,0) default 7, f float default 1.5, f1 float default 0.1, r double default 2.5,
  y year default 2020, da date default '2020-02-29', dt datetime default '2020-01-01 00:00:00', dt3 datetime(3) default '2020-01-01 00:00:00.123', dt6 datetime(6) default '2020-01-01 00:00:00.123456', ts timestamp null default '2020-01-01 00:00:00', ts6 timestamp(6) null default '2020-01-01 00:00:00.5', ti time default '12:34:56', t6 time(6) default '-12:34:56.789', c char(5) default 'ab', v varchar(10) default 'it''s', ve varchar(10) default '', vn varchar(10) default null, vnull varchar(10) default 'NULL', bi binary(4) default 'ab', vb varbinary(4) default 'ab',
  e enum('a','b') default 'b', s set('a','b','c') default 'a,c', es set('a') default '', z int(5) zerofill default 7, neg int default -1, q varchar(20) default 'a\\b"c');
create table defaults_required (id int primary key default 0, i1 tinyint not null default -2, i2 smallint not null default -2, i4 int not null default 42, i8 bigint not null default 9000000000, u8 bigint unsigned not null default 18446744073709551615, b boolean not null default false, b1 bit(1) not null default b'0', b12 bit(12) not null default b'101', d decimal(10,2) not null default -1.5, f float not null default 1.5, r double not null default 2.5,
  y year not null default 2020, da date not null default '2020-02-29', dt datetime not null default '2020-01-01 00:00:00', dt6 datetime(6) not null default '2020-01-01 00:00:00.123456', ts timestamp not null default '2020-01-01 00:00:00', ti time not null default '12:34:56', t6 time(6) not null default '12:34:56.789', c char(5) not null default 'ab', v varchar(10) not null default 'it''s', ve varchar(10) not null default '', bi binary(4) not null default 'ab', vb varbinary(4) not null default 'ab',
  e enum('a','b') not null default 'b', s set('a','b','c') not null default 'a,c');
create table computed_defaults (id int primary key auto_increment, ts timestamp not null default current_timestamp on update current_timestamp, dt datetime default current_timestamp, dt6 datetime(6) not null default current_timestamp(6), expr int default (1 + 1), u varchar(40) not null default (concat('a', 'b')), d date default (curdate()), t text default ('abc'));
create table generated_columns (id int primary key, a int, v int generated always as (a + 1) virtual, s int generated always as (a + 2) stored, t varchar(20) generated always as (concat('x', a)) stored, after_it int);
-- mysql: create table invisible_columns (id int primary key, h int invisible, hd int not null default 5 invisible, v int);

create table pair_key (a varchar(5), b int, c bigint, v text, primary key (c, a));
create table text_key (k varchar(20) character set latin1 primary key, v int);
create table binary_key (k binary(4) primary key, v int);
create table choice_key (e enum('a','b') primary key, v int);
create table decimal_key (d decimal(10,2), u bigint unsigned, dt datetime(3), primary key (d, u, dt));
create table prefix_key (k varchar(100) not null, v int, primary key (k(3)));
create table keyless (a int, b varchar(10));
create table unique_only (a int not null, b int not null, c varchar(5));
create unique index unique_only_b on unique_only (b);
create table unique_nullable (a int, b int, c varchar(5));
create unique index unique_nullable_b on unique_nullable (b);
create table unique_two (a int not null, b int not null, c varchar(5));
create unique index unique_two_z on unique_two (a);
create unique index unique_two_c on unique_two (b, a);
create table `2nd` (`3rd` int primary key, `a.b` text);
create table `order-items` (`order-id` int primary key, `1st` text, `größe` int, `a b` text, `A` text, select_ text, `_x` text, `$y` text);
create table CamelCase (Id int primary key, camelCol text);
-- mysql: set session sql_generate_invisible_primary_key = on;
-- mysql: create table gipk (a int, b varchar(10));
-- mysql: set session sql_generate_invisible_primary_key = off;
