"""Who replicates from a cluster: known in the plan of a reset, and no member of the cluster."""

from __future__ import annotations

import dataclasses

from pgdolly.drivers.followers import Followers, Sender
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.followers import slot_name, standby_clusters
from pgdolly.operations.reset.describe import warnings_of
from reset_blueprints import blueprint, cluster, reset_facts

NAMES = frozenset({"pg-test-1", "pg-test-2", "pg-test-3"})
FLEET = Fleet({name: cluster(name, 3) for name in ("pg-meta", "pg-test", "pg-meta2")}, "pigsty.yml")


def follower(number: int, *senders: str, slots: tuple[str, ...] = ()) -> Followers:
    return Followers(
        member=cluster("pg-test", 3).members[number - 1],
        senders=tuple(
            Sender(application_name=name, user="replicator", client="10.10.10.99", state="streaming")
            for name in senders
        ),
        slots=slots,
    )


OWN = (follower(1, "pg-test-2", "pg-test-3", slots=("pg_test_2", "pg_test_3")), follower(2), follower(3))


def warnings(*followers: Followers, unasked: tuple[str, ...] = ()) -> list[str]:
    facts = dataclasses.replace(
        reset_facts(),
        followers=followers,
        unasked=unasked,
        standby_clusters=standby_clusters(FLEET, "pg-test", followers, NAMES),
    )
    return [warning for warning in warnings_of(blueprint(), facts) if "go on" in warning]


def test_a_cluster_that_only_its_members_replicate_from_is_reset_without_a_word() -> None:
    assert warnings(*OWN) == []


def test_a_reset_says_whom_it_breaks_and_how_they_come_back() -> None:
    leader = follower(1, "pg-test-2", "pg-meta2-1", "pg_receivewal", slots=("pg_test_2", "pgdolly_pg_meta2"))
    [warning] = warnings(leader, follower(2, slots=("pgdolly_pg_meta2",)), follower(3, "subscriber"))
    assert warning == (
        "pg-test is replicated from: pg-meta2-1 (replicator from 10.10.10.99, streaming) from pg-test-1; "
        "pg_receivewal (replicator from 10.10.10.99, streaming) from pg-test-1; "
        "subscriber (replicator from 10.10.10.99, streaming) from pg-test-3; "
        "replication slot pgdolly_pg_meta2 on pg-test-1, pg-test-2. "
        "After this reset they CANNOT go on, and come back only anew: "
        "standby cluster pg-meta2, once pg-test archives again, by  pgdolly drop pg-meta2  and a new clone, or as a "
        "cluster of its own by  pgdolly reset pg-meta2 --from pg-test; "
        "what else receives or subscribes by a new base backup, or a new copy of its tables"
    )


def test_a_standby_cluster_is_known_by_its_slot_also_while_it_is_down() -> None:
    assert standby_clusters(FLEET, "pg-test", [follower(1, slots=("pgdolly_pg_meta2",))], NAMES) == (
        "pg-meta2",
    )


def test_a_member_that_could_not_be_asked_is_named() -> None:
    [warning] = warnings(*OWN[:2], unasked=("pg-test-3",))
    assert warning.startswith("pg-test-3 could not be asked who replicates from there")


def test_patronis_names_of_slots() -> None:
    assert slot_name("pg-Test.1") == "pg_test_1"
    assert slot_name("a b") == "au0032b"
