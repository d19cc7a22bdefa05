-- One set of rows for every type; OFFSET becomes 0 for the snapshot and 1000 while the engine streams.
insert into numbers values (OFFSET + 1, 0, 0, 0, 0, 0, 0), (OFFSET + 2, 32767, 2147483647, 9223372036854775807, 4294967295, 3.4028235e38, 1.7976931348623157e308),
 (OFFSET + 3, -32768, -2147483648, -9223372036854775808, 4000000000, '1e-45', '5e-324'), (OFFSET + 4, -1, -1, -1, 1, 'NaN', 'NaN'), (OFFSET + 5, 1, 1, 1, 2, 'Infinity', 'Infinity'),
 (OFFSET + 6, 63, 64, -64, 3, '-Infinity', '-Infinity'), (OFFSET + 7, -65, 8191, 8192, 3, '-0', '-0'), (OFFSET + 8, 1, 268435455, 268435456, 3, 0.1, 0.1), (OFFSET + 9, 1, -268435456, -268435457, 3, 16777217, 1e23),
 (OFFSET + 10, null, null, null, null, null, null);
insert into decimals values (OFFSET + 1, 0, 0, 0, 0, 0, 0, 0);
insert into decimals values (OFFSET + 2, 99999999.99, 99999999999999999999999999999999999999, 99999999999999999999.99999999999999999999, 0.00999, 9999900, 1e20, '92233720368547758.07'),
 (OFFSET + 3, -99999999.99, -99999999999999999999999999999999999999, -99999999999999999999.99999999999999999999, -0.00999, -9999900, -1e20, '-92233720368547758.08'),
 (OFFSET + 4, 22.2, 1, 0.00000000000000000001, 0.00001, 100, 22.2200, -0.01), (OFFSET + 5, -1.28, 128, 1.5, 0.00128, 149, 0.000000, 1234.11), (OFFSET + 6, 1.27, -128, -1.5, -0.00128, 150, 1e-10, -1234.11),
 (OFFSET + 7, 0.01, 256, 3.25, 0, -100, 123456789012345678901234567890.123456789, 1), (OFFSET + 8, -0.01, -129, 3, 0.00255, 200, 1e131, -1), (OFFSET + 9, 2.56, -32768, 3, 0.00256, 300, -0.5, 0.99),
 (OFFSET + 10, null, null, null, null, null, null, null);
insert into texts values (OFFSET + 1, true, 'ab', 'x', 'abc', 'abc', 'abc', 'AbC', 'ab  ', '\x'), (OFFSET + 2, false, 'ab   ', '', '\N', E'\\N', E'tab\there\nnewline\r\\ back\b\f\v', '\N', '', '\x00'),
 (OFFSET + 3, null, null, null, null, null, null, null, null, null), (OFFSET + 4, true, 'größe', '𐍈', 'größe', U&'\+10FFFF', U&'a\+01F600b', 'Größe', 'ü', '\xdeadbeef005c27'),
 (OFFSET + 5, true, '', ' ', '', '', '', '', ' ', '\x5c303030'), (OFFSET + 6, false, 'NULL', 'N', 'NULL', repeat('x', 100), repeat('ü', 9000), 'x', 'x', decode(repeat('00ff', 100), 'hex'));
insert into moments values (OFFSET + 1, '1970-01-01', '00:00', '00:00', '00:00', '00:00', '00:00+00', '00:00+00', '00:00+00', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01+00', '1970-01-01+00', '1970-01-01+00', '1970-01-01+00'),
 (OFFSET + 2, '2024-02-29', '23:59:59.999999', '23:59:59.4', '23:59:59.999', '12:34:56.7', '11:51:30.123789+00', '11:51:30.1+05:30', '23:59:59.999-07:30', '2024-02-29 23:59:59.999999', '2024-02-29 23:59:59.4', '2024-02-29 23:59:59.94', '2024-02-29 23:59:59.9994', '2024-02-29 23:59:59.9999', '2024-02-29 01:02:03.00001', '2024-02-29 23:59:59.999999+01', '2024-02-29 23:59:59+01', '2024-02-29 23:59:59.120+01', '2024-02-29 23:59:59.12345+01'),
 (OFFSET + 3, '1969-12-31', '24:00:00', '24:00:00', '24:00', '00:00:00.000001', '24:00:00+00', '24:00:00+00', '01:02:03.1-15:59', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59', '1969-12-31 23:59:59.9', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59.9999', '1969-12-31 00:00:00.5', '1969-12-31 23:59:59.5Z', '1969-12-31 23:59:59Z', '1969-12-31 23:59:59.5Z', '1900-01-01 00:00:00.1Z'),
 (OFFSET + 4, '9999-12-31', '00:00:00.1', '01:00', '01:00:00.01', '23:59:59.9999995', '00:00:00.1+15:59', '00:00:00-15:59', '24:00:00-05', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59', '0001-01-01 00:00:00', '0001-01-01 00:00:00.001', '0099-03-04 00:00:00', '0999-01-01', '9999-12-31 23:59:59.999999Z', '0001-01-01 00:00:00Z', '0099-01-01 00:00:00Z', '10000-01-01 00:00:00Z'),
 (OFFSET + 5, '0044-03-15 BC', null, null, null, null, null, null, null, '0044-03-15 10:11:12.131415 BC', '0044-03-15 BC', '0001-12-31 23:59:59.9 BC', '0005-02-28 BC', '4713-01-01 BC', '4713-11-24 BC', '0044-03-15 10:11:12.131415Z BC', '0001-12-31 23:59:59Z BC', '4713-11-25 00:00:00Z BC', '4001-02-28 00:00:00.5Z BC'),
 (OFFSET + 6, '10000-01-01', null, null, null, null, null, null, null, '10000-01-01 00:00:00.000001', '294276-12-31 23:59:59', '12345-06-07 08:09:10.1', '99999-12-31 23:59:59.999', '294276-12-31 23:59:59.9999', '294276-12-31 23:59:59.999999', '10000-01-01 00:00:00.000001Z', '294276-12-31 23:59:59Z', '21016-11-05 01:02:03.1Z', '294276-12-31 23:59:59.99999Z'),
 (OFFSET + 7, null, null, null, null, null, null, null, null, 'infinity', 'infinity', null, 'infinity', 'infinity', 'infinity', 'infinity', 'infinity', 'infinity', 'infinity'),
 (OFFSET + 8, null, null, null, null, null, null, null, null, '-infinity', '-infinity', null, '-infinity', '-infinity', '-infinity', '-infinity', '-infinity', '-infinity', '-infinity'),
 (OFFSET + 9, '1582-10-10', '00:00', '00:00', '00:00', '00:00', '00:00:59.999999+00', '00:00+00', '12:00:00.120+00', '1582-10-10', '1500-02-28', '1100-02-28', '2016-12-31 23:59:60', '2000-01-01', '1600-02-29', '1582-10-10Z', '1883-11-18 12:00:00Z', '1970-01-01 00:00:01.010Z', '1970-01-01 00:00:00.00010Z'),
 (OFFSET + 10, '4713-11-24 BC', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (OFFSET + 11, '5874897-12-31', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (OFFSET + 12, 'infinity', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (OFFSET + 13, '-infinity', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (OFFSET + 14, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
insert into intervals values (OFFSET + 1, '0', '0', '0', '0'), (OFFSET + 2, '1 day', '-1 day', '1 day 02:03:04.567891', '1 year 2 months'), (OFFSET + 3, '1 month', '1 year', '-3 days 04:05:06', '-1 month'),
 (OFFSET + 4, '1 year 2 mons 3 days 04:05:06.789', '-1 year -2 mons +3 days -04:05:06', '00:00:00.000001', '10 years'), (OFFSET + 5, '-1 mons +1 day -00:00:00.5', '-00:00:01', '-00:00:00.000001', '-1 year 1 month'),
 (OFFSET + 6, '178000000 years', '-178000000 years', '100000:00:00', '7 months'), (OFFSET + 7, '1.5 years 1.5 mons', '7 mons', '11 days', '11 months'), (OFFSET + 8, null, null, null, null), (OFFSET + 9, '596523:14:07.999999', '5 mons', '-596523:14:07.999999', '13 months'), (OFFSET + 10, '1 year -1 day', '-5 mons', '-1 days +00:00:00.1', '25 months');
insert into misc values (OFFSET + 1, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{"a":  1, "a": 2}', '{"b":  1e400, "a": [1.0, "\u00fc"]}', '<a>x</a>', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'1', B'1', B'00000001', B'000000000001', 1::bit(64), B'1'::bit(70), B'1', B'1', B'1', 'happy', 'a,b', 'x'),
 (OFFSET + 2, '00000000-0000-0000-0000-000000000000', 'null', 'null', 'x<b/>y', '10.0.0.1/32', '10.0.0.1/32', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00', B'0', B'0', B'00000000', B'000000000000', 0::bit(64), 0::bit(70), B'', B'', B'', 'sad', 'c''d', 'y'),
 (OFFSET + 3, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '"\uDEAD"', '123456789012345678901234567890', '<?xml version="1.0"?><a/>', '::1', '::/0', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff', B'1', B'1', B'11111111', B'111111111111', (-1)::bit(64), ~ 0::bit(70), repeat('10', 50)::varbit, B'1000000000', B'0', 'meh', '"e"', 'x'),
 (OFFSET + 4, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (OFFSET + 5, null, ' [1, 2] ', '[]', '', '2001:db8::/32', '2001:db8::/32', null, null, null, null, B'10000000', B'100000000000', ~ (1::bit(64)), null, B'00000000', B'00000000', null, 'ok', '', null),
 (OFFSET + 6, null, '""', '""', null, null, null, null, null, null, null, B'01000000', B'000100000000', null, null, B'000000001', B'1000000', null, null, null, null);
insert into domains values (OFFSET + 1, 1, 1.5, 2.5, 'abc', '{1,NULL,3}', '2020-01-01 00:00:00.1239'), (OFFSET + 2, null, null, null, 'x', null, null);
insert into extras values (OFFSET + 1, '[1,5]', '(,5)', '(1.5,)', '[2020-01-01,2020-01-02)', '[2020-01-01 00:00+02,infinity)', '[2020-01-01,)', '{[1,2],[2,5]}', '(1,2)', '{1,-1,0}', '(1,1),(2,2)', '(2,2),(1,1)', '[(1,1),(2,2)]', '((0,0),(1,0),(1,1))', '<(1,2),3>',
 'a=>1, "b c"=>NULL, "q\"\\"=>"=>,"', 'a.b.c', '978-0-393-04002-9', 'the fat cat:3A', 'fat & cat', '(1,"a b")', '16/B374D848', '42', 'nm', 'c', '1 2', '1 2', 'pg_class', '$.a', 'a.*'),
 (OFFSET + 2, 'empty', '(,)', 'empty', '(,)', '(,)', 'empty', '{}', '(-1.5,1e300)', '{0,1,5}', '(-1,1),(2,-2)', '(0,0),(0,0)', '((1,1),(2,2))', '((1.5,0))', '<(0,0),0>', '', '', '9780393040029', '', '', '(,)', '0/0', '0', '', '', '', '', '0', '$', '*'),
 (OFFSET + 3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (OFFSET + 4, '[1,)', '[1,2)', '[0,1]', '(2020-01-01 00:00:00.5,infinity]', '[-infinity,2020-06-01 12:00+00]', '(-infinity,2020-01-01]', '{[1,2)}', '(0.1,1e-7)', '{1,2,3}', '(0,0),(1,1)', '(1,2),(-1,-2)', '[(0,0)]', '((0,0),(0,1),(1,1),(1,0))', '<(0.5,0.25),1e10>', 'k=>v', 'a_1', '0-393-04002-X', '''a b'':1B,2', '!a | ( b & c:*A )', '(5,"q""x")', 'FFFFFFFF/FFFFFFFF', '18446744073709551615', 'with "q', '\', '5', '5', '12345', 'strict $.a[*] ? (@ > 1)', 'a|b');
insert into arrays values (OFFSET + 1, '{t,f,NULL}', '{1,-1}', '{1,NULL,3}', '{9223372036854775807}', '{4294967295}', '{1.5,NaN,-Infinity}', '{0.1,5e-324}',
 '{1.50,NULL,-2,100}', '{1.5,-2.25}', '{a,NULL,"NULL","",  "q\"x\\y","a,b","{}",é," sp "}', '{ab,"NULL"}', '{a,NULL}', '{Ab}', '{2020-01-01,0044-03-15 BC}', '{12:34:56.789,24:00:00}', '{01:02:03.004}', '{12:00:00+02,00:00:00.5-01}',
 '{2020-01-01 00:00:00.123456,infinity}', '{2020-01-01 00:00:00.123}', '{2020-01-01 00:00:00+02,infinity,NULL}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}', '{"{\"a\":  1}",null}', '{"{\"a\":  1}",NULL}', '{10.0.0.1/8,::1}', '{10.0.0.0/8}', '{08:00:2b:01:02:03}', '{sad,ok,NULL}', '{"[1,5)",empty,NULL}', '{"[2020-01-01 00:00+00,)"}', '{"a=>1,b=>NULL"}', '{a.b,NULL}'),
 (OFFSET + 2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
 (OFFSET + 3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (OFFSET + 4, '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}');
insert into odd_arrays values (OFFSET + 1, '{1.5,-2}', '{"\\xdead","\\x"}', '{1 day}', '{<a/>}', '{08:00:2b:01:02:03:04:05}', '{1,0}', '{00000001}', '{101,NULL}', '{"(1,2)"}', '{1,2}', '{1.5}', '{nm}', '{"(1,x)"}', '{x,y}'), (OFFSET + 2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}');
insert into required values (OFFSET + 1, true, 1, 2, 3, 4, 1.5, 2.5, 1.25, 7.50, 1.5, 'ab', 'v', 't', '\x01', '2020-01-01', '01:02:03', '01:02:03.5', '01:02:03+01', '2020-01-01', '2020-01-01', '2020-01-01Z', '1 day', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '1', '1', '<a/>', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', B'1', B'000000000001', B'1', 'ok', '{1}', '{a}', '(1,2)', 'a=>1', '[1,2)', 3, 'a.b');
insert into defaults (id) values (OFFSET + 1);
insert into defaults_required (id) values (OFFSET + 1);
insert into defaults values (OFFSET + 2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
insert into computed_defaults (id, n, nr, d, ts, ts3, u, t, r) values (OFFSET + 1, null, '2020-01-01Z', '2020-01-01', '2020-01-01', '2020-01-01', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'me', 0.5);
insert into "2nd" values (OFFSET + 1, 'x');
insert into pair_key values ('k1', OFFSET + 1, OFFSET + 2, 'v');
insert into keyless values (OFFSET + 1, 'x');
insert into unique_only values (OFFSET + 1, OFFSET + 2, 'x');
insert into unique_nullable values (OFFSET + 1, OFFSET + 2, 'x');
insert into unique_two values (OFFSET + 1, OFFSET + 2, 'x');
insert into by_index values (OFFSET + 1, OFFSET + 2, 'x', 'y');
insert into by_index_and_key values (OFFSET + 1, OFFSET + 2, 'x', 'y');
insert into full_image values (OFFSET + 1, 'x', 'y', 1.5), (OFFSET + 2, null, 'y', null);
insert into full_keyless values (OFFSET + 1, 'x');
insert into nothing_image values (OFFSET + 1, 'x');
insert into default_image values (OFFSET + 1, 'x', 'y', 1, 'ok', 'e'), (OFFSET + 2, null, 'y', 1, 'sad', null);
insert into "my-app"."order-items" values (OFFSET + 1, 'x', 2, 'y', 'A', 's', '_', '$');
insert into toasted select OFFSET + 1, 1, r, r, to_json(r), to_jsonb(r), r::bytea, array[r], ia, ia, ua, ia, ia, array[to_jsonb(r)], da, xmlparse(content r), hstore('k', r), repeat('123456789', 50)::numeric, repeat('123456789', 50)::numeric, repeat('10110', 400)::varbit, r, (repeat('abc.', 60) || 'd')::ltree, (select string_agg('w' || n, ' ') from generate_series(1, 50) n)::tsvector, '[1,2)', 'bp', r, r::bytea, ia, (select polygon(60, '<(0,0),1>'::circle)), '[2020-01-01Z,)', array_fill('2020-01-01Z'::timestamptz, array[60]), array_fill(1.5::numeric, array[60]), array_fill(true, array[300]), array_fill('10.0.0.1'::inet, array[60]), array_fill('ok'::mood, array[60]), repeat('f', 1900)
 from (select repeat('0123456789', 30) r, array_fill(7, array[80]) ia, array_fill('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, array[30]) ua, array_fill('2020-01-01'::date, array[80]) da) q;
insert into toasted_full select * from toasted where id = OFFSET + 1;
