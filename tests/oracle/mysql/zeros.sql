-- Dates that are no dates, only for the record of what Debezium shows: events of ours refuse them.
insert into zeros values (OFFSET + 1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', 0), (OFFSET + 2, '2015-00-21', '2015-00-21 01:02:03', '2015-10-00 01:02:03.5', null, null, null);
