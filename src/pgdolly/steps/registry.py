"""Every kind of step, by the name that it has in journals."""

from __future__ import annotations

from pgdolly.engine.plan import StepRegistry
from pgdolly.steps.basebackup import TakeBaseBackup
from pgdolly.steps.configure import ConfigureMember
from pgdolly.steps.copy import CopyLeader
from pgdolly.steps.drop import DeleteStanza, RemoveData, RemoveMade, RemoveStore, StartStanza, StopServer
from pgdolly.steps.handover import HandOverLeader, StartLeader
from pgdolly.steps.join import JoinReplica
from pgdolly.steps.member import KeepDataDirectory, StopMember
from pgdolly.steps.passwords import MakePasswords, ReloadPatroni, SetOwnRoles, UseOwnPasswords
from pgdolly.steps.place import PlaceRepository
from pgdolly.steps.promote import PromoteLeader, SetRoles, StopRecovered
from pgdolly.steps.promotion import EndDelay, KeepSlot, LeaveArchive, PromoteStandby
from pgdolly.steps.recover import HoldReplica, PrepareRecovery, Recover
from pgdolly.steps.restore import RestoreDataDirectory
from pgdolly.steps.standby import FollowUpstream, FoundStandby, JoinStandby, StartStandby
from pgdolly.steps.stanza import CheckStanza, EnableArchiving, MendStanza, TakeBackup
from pgdolly.steps.store import BeginStore, FenceStore, ResetStore
from pgdolly.steps.verify import VerifyCluster

STEPS = StepRegistry(
    StopMember,
    FenceStore,
    PlaceRepository,
    KeepDataDirectory,
    RestoreDataDirectory,
    PrepareRecovery,
    Recover,
    HoldReplica,
    PromoteLeader,
    SetRoles,
    StopRecovered,
    HandOverLeader,
    ResetStore,
    BeginStore,
    StartLeader,
    JoinReplica,
    CopyLeader,
    VerifyCluster,
    MendStanza,
    EnableArchiving,
    CheckStanza,
    TakeBackup,
    ConfigureMember,
    TakeBaseBackup,
    FoundStandby,
    StartStandby,
    FollowUpstream,
    JoinStandby,
    MakePasswords,
    SetOwnRoles,
    UseOwnPasswords,
    ReloadPatroni,
    EndDelay,
    PromoteStandby,
    KeepSlot,
    LeaveArchive,
    StopServer,
    RemoveData,
    RemoveStore,
    DeleteStanza,
    StartStanza,
    RemoveMade,
)
