#include "hypervisor/replication/decision/roles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace understudy::replication {

namespace {

using Context = RoleMachine::Context;
using Question = Context::Question;
using arbiter::Verdict;

// What an event means to this replica now.
enum class Happening {
    started,
    granted,     // form: yes
    refused,     // form: no
    malformed,   // form: no, and it was not even considered
    won,         // test-and-set: yes
    lost,        // test-and-set: no
    unanswered,  // either: unknown
    backup_connected,
    backup_ready,
    gate_closed,
    acknowledged,
    state_received,
    pair_formed,
    peer_lost,
    log_drained,
    guest_ended,
    tick,
};

std::string_view name(Happening happening) {
    constexpr std::array<std::string_view, 17> kNames = {
        "started",     "granted",          "refused",      "malformed",   "won",          "lost",
        "unanswered",  "backup_connected", "backup_ready", "gate_closed", "acknowledged", "state_received",
        "pair_formed", "peer_lost",        "log_drained",  "guest_ended", "tick"};
    return kNames[static_cast<std::size_t>(happening)];
}

// --- What an event means --------------------------------------------------------------------------------------------
// Nothing: it is stale, of a question that was settled or a peer that was dropped.

struct Classify {
    Context& context;

    template <typename FromPeer>
    [[nodiscard]] std::optional<Happening> if_from_peer(const FromPeer& event, Happening happening) const {
        return context.peer == event.peer ? std::optional(happening) : std::nullopt;
    }

    std::optional<Happening> operator()(const event::ArbiterAnswered& answered) const {
        if (!context.awaiting || answered.ticket != context.ticket) {
            return std::nullopt;
        }
        context.awaiting = false;
        const Verdict verdict = answered.outcome.verdict;
        if (verdict == Verdict::unknown) {
            return Happening::unanswered;
        }
        const bool form = context.question == Question::form;
        context.question = Question::none;
        if (verdict == Verdict::yes) {
            return form ? Happening::granted : Happening::won;
        }
        if (form && answered.outcome.malformed) {
            return Happening::malformed;
        }
        return form ? Happening::refused : Happening::lost;
    }
    std::optional<Happening> operator()(const event::GateClosed& e) const {
        return if_from_peer(e, Happening::gate_closed);
    }
    std::optional<Happening> operator()(const event::BackupReady& e) const {
        return if_from_peer(e, Happening::backup_ready);
    }
    std::optional<Happening> operator()(const event::Acknowledged& e) const {
        return if_from_peer(e, Happening::acknowledged);
    }
    std::optional<Happening> operator()(const event::PeerLost& e) const {
        return if_from_peer(e, Happening::peer_lost);
    }
    std::optional<Happening> operator()(const event::BackupConnected& /*e*/) const {
        return Happening::backup_connected;
    }
    std::optional<Happening> operator()(const event::Started& /*e*/) const { return Happening::started; }
    std::optional<Happening> operator()(const event::StateReceived& /*e*/) const { return Happening::state_received; }
    std::optional<Happening> operator()(const event::PairFormed& /*e*/) const { return Happening::pair_formed; }
    std::optional<Happening> operator()(const event::LogDrained& /*e*/) const { return Happening::log_drained; }
    std::optional<Happening> operator()(const event::GuestEnded& /*e*/) const { return Happening::guest_ended; }
    std::optional<Happening> operator()(const event::Tick& tick) const {
        context.now = std::max(context.now, tick.now);
        return Happening::tick;
    }
};

// --- Guards ---------------------------------------------------------------------------------------------------------

bool always(const Context& /*context*/, const Event& /*event*/) {
    return true;
}
bool form_was_asked(const Context& context, const Event& /*event*/) {
    return context.asked;
}
bool is_backup(const Context& context, const Event& /*event*/) {
    return context.backup;
}
bool not_ready_yet(const Context& context, const Event& /*event*/) {
    return !context.ready;
}
bool retry_is_due(const Context& context, const Event& /*event*/) {
    return context.question != Question::none && !context.awaiting && context.now >= context.retry_at;
}
// The claim was refused because the VM is registered, but its guest has ended: it can be claimed from there on.
bool has_ended(const Context& context, const Event& event) {
    const auto& current = std::get<event::ArbiterAnswered>(event).outcome.current;
    return current && current->ended() && current->generation > context.generation;
}
bool claim_is_late(const Context& context, const Event& /*event*/) {
    return context.claim_until && context.now >= *context.claim_until;
}
// With the gate closing or this acknowledgement the backup has everything that the world has seen.
bool covers_what_left(const Context& context, const Event& event) {
    auto acknowledged = context.acknowledged;
    auto ungated = context.ungated;
    if (const auto* ack = std::get_if<event::Acknowledged>(&event)) {
        acknowledged = std::max(acknowledged, ack->up_to);
    } else if (const auto* closed = std::get_if<event::GateClosed>(&event)) {
        ungated = closed->last_ungated;
    }
    return context.ready && !context.asked && ungated && acknowledged >= *ungated;
}
// The arbiter said no, and yet shows this replica as the owner of its generation: an odd refusal, but a definite state.
bool still_owner(const Context& context, const Event& event) {
    const auto& current = std::get<event::ArbiterAnswered>(event).outcome.current;
    return current && current->generation == context.generation &&
           (current->winner ? *current->winner == context.config.self
                            : current->members == std::vector{context.config.self});
}
// Lost, because the pair does not exist: the arbiter is still at an older generation.
bool pair_is_unknown(const Context& context, const Event& event) {
    const auto& current = std::get<event::ArbiterAnswered>(event).outcome.current;
    return context.backup && current && current->generation < context.generation;
}
bool pair_stays_unknown(const Context& context, const Event& event) {
    return pair_is_unknown(context, event) && context.unformed_until && context.now >= *context.unformed_until;
}

// --- Effects --------------------------------------------------------------------------------------------------------

void ask(Context& context, Actions& actions, Question question) {
    context.question = question;
    context.awaiting = true;
    ++context.ticket;
    const VmId& vm = context.config.vm;
    const ReplicaId& self = context.config.self;
    if (question == Question::test_and_set) {
        actions.push_back(action::TestAndSet{context.ticket, {vm, context.generation, self}});
        return;
    }
    std::vector<ReplicaId> members{self};
    if (context.peer) {
        members.push_back(*context.peer);
    }
    actions.push_back(
        action::Form{context.ticket, {vm, context.generation, context.generation.next(), self, std::move(members)}});
}

void terminate(Actions& actions, action::Terminate::Reason reason, std::string explanation) {
    actions.push_back(action::Terminate{reason, std::move(explanation)});
}

std::string explanation_in(const Event& event) {
    const auto* answered = std::get_if<event::ArbiterAnswered>(&event);
    return answered != nullptr ? answered->outcome.explanation : std::string();
}

void nothing(Context& /*context*/, const Event& /*event*/, Actions& /*actions*/) {}

void start_claim(Context& context, const Event& /*event*/, Actions& actions) {
    context.claim_until = context.now + context.config.claim_deadline;
    ask(context, actions, Question::form);
}

void claim_behind_end(Context& context, const Event& event, Actions& actions) {
    context.generation = std::get<event::ArbiterAnswered>(event).outcome.current->generation;
    ask(context, actions, Question::form);
}

void ask_again(Context& context, const Event& /*event*/, Actions& actions) {
    ask(context, actions, context.question);
}

void wait_to_ask_again(Context& context, const Event& /*event*/, Actions& /*actions*/) {
    context.retry_at = context.now + context.config.retry_interval;
}

void wait_to_form_again(Context& context, const Event& event, Actions& actions) {
    context.question = Question::form;
    wait_to_ask_again(context, event, actions);
}

void wait_to_decide_again(Context& context, const Event& event, Actions& actions) {
    if (!context.unformed_until) {
        context.unformed_until = context.now + context.config.unformed_deadline;
    }
    context.question = Question::test_and_set;
    wait_to_ask_again(context, event, actions);
}

void own_the_vm(Context& context, const Event& /*event*/, Actions& actions) {
    context.generation = context.generation.next();
    actions.push_back(action::Speak{{context.generation, false}});
    actions.push_back(action::StartGuest{});
}

void give_up_claim(Context& /*context*/, const Event& event, Actions& actions) {
    terminate(actions, action::Terminate::Reason::claim_refused,
              "the arbiter refused the claim: " + explanation_in(event));
}

void give_up_arbiter(Context& /*context*/, const Event& event, Actions& actions) {
    const std::string detail = explanation_in(event);
    terminate(actions, action::Terminate::Reason::arbiter_unreachable,
              "the arbiter does not answer" + (detail.empty() ? "" : ": " + detail));
}

void forget_peer(Context& context) {
    context.peer.reset();
    context.ready = false;
    context.ungated.reset();
    context.acknowledged = {};
    context.asked = false;
}

void start_transfer(Context& context, const Event& event, Actions& actions) {
    forget_peer(context);
    context.peer = std::get<event::BackupConnected>(event).peer;
    actions.push_back(action::StartTransfer{*context.peer, context.generation.next()});
}

void refuse_second(Context& context, const Event& event, Actions& actions) {
    actions.push_back(action::RefusePeer{std::get<event::BackupConnected>(event).peer,
                                         context.peer ? "another backup has joined or is joining: " + *context.peer
                                                      : "this replica cannot take a backup now"});
}

void close_gate(Context& context, const Event& /*event*/, Actions& actions) {
    context.ready = true;
    actions.push_back(action::CloseGate{*context.peer});
}

void note(Context& context, const Event& event, Actions& /*actions*/) {
    if (const auto* ack = std::get_if<event::Acknowledged>(&event)) {
        context.acknowledged = std::max(context.acknowledged, ack->up_to);
    } else if (const auto* closed = std::get_if<event::GateClosed>(&event); closed != nullptr && context.ready) {
        context.ungated = closed->last_ungated;
    } else if (std::holds_alternative<event::PairFormed>(event)) {
        context.formed = true;
    }
}

void form_pair(Context& context, const Event& event, Actions& actions) {
    note(context, event, actions);
    context.asked = true;
    ask(context, actions, Question::form);
}

void lead(Context& context, const Event& /*event*/, Actions& actions) {
    context.generation = context.generation.next();
    context.won = false;
    actions.push_back(action::TellFormed{*context.peer});
    actions.push_back(action::Speak{{context.generation, false}});
}

// Drops the connection; the peer's id stays known where a question names it.
void drop_peer(Context& context, const Event& event, Actions& actions) {
    context.loss = std::get<event::PeerLost>(event).why;
    actions.push_back(action::DropPeer{*context.peer});
}

void stay_alone(Context& context, const Event& event, Actions& actions) {
    drop_peer(context, event, actions);
    forget_peer(context);
    actions.push_back(action::OpenGate{});
}

// There is no pair with this peer, and never will be one.
void stay_without(Context& context, const Event& /*event*/, Actions& actions) {
    actions.push_back(action::DropPeer{*context.peer});
    forget_peer(context);
    actions.push_back(action::OpenGate{});
}

// The same, and the connection to the peer was dropped before.
void go_on_without(Context& context, const Event& /*event*/, Actions& actions) {
    forget_peer(context);
    actions.push_back(action::OpenGate{});
}

void decide(Context& context, const Event& event, Actions& actions) {
    if (context.backup) {
        actions.push_back(action::StopAcknowledging{});
    }
    drop_peer(context, event, actions);
    ask(context, actions, Question::test_and_set);
}

void decide_formed(Context& context, const Event& /*event*/, Actions& actions) {
    context.generation = context.generation.next();
    context.won = false;
    ask(context, actions, Question::test_and_set);
}

void speak_alone(Context& context, const Event& /*event*/, Actions& actions) {
    context.won = true;
    context.backup = false;
    forget_peer(context);
    actions.push_back(action::Speak{{context.generation, true}});
    actions.push_back(action::OpenGate{});
}

void drain_log(Context& /*context*/, const Event& /*event*/, Actions& actions) {
    actions.push_back(action::DrainLog{});
}

void give_up_joining(Context& context, const Event& event, Actions& actions) {
    drop_peer(context, event, actions);
    terminate(actions, action::Terminate::Reason::transfer_incomplete,
              "the primary was lost before the whole state was here: " + context.loss);
}

void give_up_unformed(Context& context, const Event& /*event*/, Actions& actions) {
    terminate(actions, action::Terminate::Reason::never_formed,
              "the primary was lost before the arbiter formed the pair: " + context.loss);
}

void give_up_deposed(Context& context, const Event& event, Actions& actions) {
    const auto& current = std::get<event::ArbiterAnswered>(event).outcome.current;
    const std::string who = current && current->winner ? *current->winner : "another replica";
    terminate(actions, action::Terminate::Reason::deposed,
              fmt::format("{} goes on with the VM after generation {} lost a replica: {}", who,
                          context.generation.value, context.loss));
}

void end(Context& /*context*/, const Event& /*event*/, Actions& actions) {
    terminate(actions, action::Terminate::Reason::guest_ended, "the guest ended");
}

// --- The table ------------------------------------------------------------------------------------------------------
// The first row of the role and happening whose guard holds is taken; where there is none, nothing changes.

struct Transition {
    Role from;
    Happening on;
    bool (*guard)(const Context&, const Event&);
    std::string_view guard_name;
    Role to;
    void (*effect)(Context&, const Event&, Actions&);
    std::string_view why;
};

constexpr auto kTransitions = [] {
    using enum Role;
    using enum Happening;
    return std::to_array<Transition>({
        {claiming, started, always, "", claiming, start_claim, "register generation 1 before the guest runs"},
        {claiming, granted, always, "", solo, own_the_vm, "the only member of generation 1 owns the VM"},
        {claiming, refused, has_ended, "its guest has ended", claiming, claim_behind_end,
         "nobody runs the VM: register the generation behind its last"},
        {claiming, refused, always, "", terminated, give_up_claim, "the VM runs elsewhere"},
        {claiming, malformed, always, "", terminated, give_up_claim, "it will never be granted"},
        {claiming, unanswered, claim_is_late, "deadline passed", terminated, give_up_arbiter,
         "nothing runs yet: better to say so than to wait"},
        {claiming, unanswered, always, "", claiming, wait_to_ask_again, "a repeated claim gets the same answer"},
        {claiming, tick, retry_is_due, "retry due", claiming, ask_again, "the same question again"},
        {claiming, backup_connected, always, "", claiming, refuse_second, "there is no guest yet"},
        {claiming, guest_ended, always, "", terminated, end, "the start was called off"},

        {solo, backup_connected, always, "", forming, start_transfer, "the owner may form the next generation"},
        {solo, guest_ended, always, "", terminated, end, "all it said has left"},

        {forming, backup_connected, always, "", forming, refuse_second, "one at a time"},
        {forming, backup_ready, not_ready_yet, "first time", forming, close_gate,
         "from here on nothing may leave that the backup does not have"},
        {forming, gate_closed, covers_what_left, "all that left is acknowledged", forming, form_pair,
         "the backup has all that the world has seen, and the gate keeps it so"},
        {forming, gate_closed, always, "", forming, note, "not all of it yet"},
        {forming, acknowledged, covers_what_left, "all that left is acknowledged", forming, form_pair,
         "the backup has all that the world has seen, and the gate keeps it so"},
        {forming, acknowledged, always, "", forming, note, "not all of it yet"},
        {forming, granted, always, "", leading, lead, "the pair exists"},
        {forming, malformed, always, "", solo, stay_without, "no copy of it will ever be granted"},
        {forming, refused, still_owner, "still the owner", forming, wait_to_form_again,
         "an earlier copy of the question may still be granted"},
        {forming, refused, always, "", terminated, give_up_deposed, "the VM is not this replica's any more"},
        {forming, unanswered, always, "", forming, wait_to_ask_again, "a repeated form gets the same answer"},
        {forming, tick, retry_is_due, "retry due", forming, ask_again, "the same question again"},
        {forming, peer_lost, form_was_asked, "form was asked", deciding, drop_peer,
         "the peer may be a member: first learn whether, then win"},
        {forming, peer_lost, always, "", solo, stay_alone, "never asked: the peer is no member"},
        {forming, guest_ended, form_was_asked, "form was asked", forming, nothing,
         "first learn which generation it is that ends"},
        {forming, guest_ended, always, "", terminated, end, "all it said has left"},

        {leading, backup_connected, always, "", leading, refuse_second, "a pair has two members"},
        {leading, peer_lost, always, "", deciding, decide, "the peer may think the same of this replica"},
        {leading, guest_ended, always, "", terminated, end, "all it said has left"},

        {joining, state_received, always, "", following, nothing, "from here on it can replay, and acknowledge"},
        {joining, peer_lost, always, "", terminated, give_up_joining, "nothing to go live with, and no member"},
        {joining, guest_ended, always, "", terminated, end, "all it said has left"},

        {following, pair_formed, always, "", following, note, "for the user to see"},
        {following, peer_lost, always, "", deciding, decide, "and acknowledge nothing more, for ever"},
        {following, guest_ended, always, "", terminated, end, "replayed to the end"},

        {deciding, backup_connected, always, "", deciding, refuse_second, "this replica may have been deposed"},
        {deciding, granted, always, "", deciding, decide_formed, "the pair exists, so the peer may win it"},
        {deciding, malformed, always, "", solo, go_on_without, "the pair never existed, and no copy will make it"},
        {deciding, refused, still_owner, "still the owner", deciding, wait_to_form_again,
         "an earlier copy of the question may still be granted"},
        {deciding, refused, always, "", terminated, give_up_deposed, "the VM is not this replica's any more"},
        {deciding, unanswered, always, "", deciding, wait_to_ask_again, "an unknown answer is no answer"},
        {deciding, tick, retry_is_due, "retry due", deciding, ask_again, "without a majority nobody goes on"},
        {deciding, won, is_backup, "backup", going_live, drain_log,
         "the peer will never speak alone in this generation"},
        {deciding, won, always, "", solo, speak_alone, "the peer will never go live in this generation"},
        {deciding, lost, pair_stays_unknown, "no such pair, deadline passed", terminated, give_up_unformed,
         "the old primary owned the VM alone"},
        {deciding, lost, pair_is_unknown, "no such pair", deciding, wait_to_decide_again,
         "the primary's question may still be under way; with it granted, somebody must be there to win"},
        {deciding, lost, always, "", terminated, give_up_deposed, "the other one goes on"},

        {going_live, log_drained, always, "", solo, speak_alone, "everything acknowledged has happened here too"},
        {going_live, backup_connected, always, "", going_live, refuse_second, "first catch up"},
    });
}();

}  // namespace

std::string_view name(Role role) {
    constexpr std::array<std::string_view, 9> kNames = {"Claiming",  "Solo",     "Forming",    "Leading",   "Joining",
                                                        "Following", "Deciding", "Going live", "Terminated"};
    return kNames[static_cast<std::size_t>(role)];
}

RoleMachine::RoleMachine(RoleConfig config, Role role) : role_(role) {
    context_.config = std::move(config);
}

RoleMachine RoleMachine::claim(RoleConfig config) {
    return {std::move(config), Role::claiming};
}

RoleMachine RoleMachine::join(RoleConfig config, ReplicaId primary, Generation generation) {
    RoleMachine machine(std::move(config), Role::joining);
    machine.context_.backup = true;
    machine.context_.peer = std::move(primary);
    machine.context_.generation = generation;
    return machine;
}

Actions RoleMachine::handle(const Event& event) {
    Actions actions;
    const auto happening = std::visit(Classify{context_}, event);
    if (!happening) {
        return actions;
    }
    const auto row = std::ranges::find_if(kTransitions, [&](const Transition& t) {
        return t.from == role_ && t.on == *happening && t.guard(context_, event);
    });
    if (row != kTransitions.end()) {
        row->effect(context_, event, actions);
        role_ = row->to;
    }
    return actions;
}

std::string describe_transitions() {
    std::string text;
    for (const Transition& t : kTransitions) {
        const std::string guard = t.guard_name.empty() ? "" : fmt::format(" [{}]", t.guard_name);
        text += fmt::format("| {} | {}{} | {} | {} |\n", name(t.from), name(t.on), guard, name(t.to), t.why);
    }
    return text;
}

}  // namespace understudy::replication
