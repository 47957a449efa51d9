// The clients of the simulated cluster.
#include <utility>
#include <vector>

#include "tests/simulation/arbiter/cluster.hpp"

namespace understudy::arbiter::simulation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

}  // namespace

// A request that stands a chance, made from what the client has seen of the VM.
void Cluster::invent(Client& client) {
    const auto vm = some_vm();
    const auto& seen = client.seen[vm];
    auto& operation = client.operation;
    operation = {};
    const auto members_with = [&](const ReplicaId& one) {
        std::vector<ReplicaId> members{one};
        const auto other = some_replica();
        if (other != one) {
            members.push_back(other);
        }
        return members;
    };
    if (chance(reads(client) ? 0.8 : 0.1)) {
        operation.request = ReadOperation{vm};
    } else if (!seen) {
        const auto replica = some_replica();
        operation.request = FormRequest{vm, {0}, {1}, replica, {replica}};
    } else if (seen->ended()) {
        const auto replica = some_replica();
        operation.request = FormRequest{vm, seen->generation, seen->generation.next(), replica, {replica}};
    } else if (chance(0.1)) {
        operation.request = EndRequest{vm, seen->generation, chance(0.2) ? ReplicaId() : some_replica()};
    } else if (chance(0.5) && (seen->winner || seen->members.size() == 1)) {
        const auto owner = seen->winner.value_or(seen->members.front());
        operation.request = FormRequest{vm, seen->generation, seen->generation.next(), owner, members_with(owner)};
    } else {
        operation.request = TestAndSetRequest{vm, seen->generation, seen->members[below(seen->members.size())]};
    }
}

void Cluster::next_operation(Client& client) {
    if (client.waiting || (client.done >= quota(client) && !healed_)) {
        if (!client.waiting) {  // look again once all is well
            after(milliseconds(100), [this, &client] { next_operation(client); });
        }
        return;
    }
    if (healed_ && client.done >= quota(client)) {
        if (client.number >= kVms || client.final_reads) {
            return;
        }
        client.final_reads = true;  // the first clients read every VM at the end
        client.operation = {};
        client.operation.request = ReadOperation{fmt::format("vm{}", client.number)};
    } else {
        invent(client);
    }
    client.waiting = true;
    client.operation.called = now_.count();
    client.attempts = 0;
    if (!std::holds_alternative<ReadOperation>(client.operation.request)) {
        ++client.sequence;
    }
    attempt(client);
}

void Cluster::attempt(Client& client) {
    ++client.attempt;
    ++client.attempts;
    // Seldom it gives up; the operation may then happen at any later time.
    if (client.attempts > 12 && !healed_ && chance(0.2)) {
        finish(client, nullptr);
        return;
    }
    Request request{client.attempt, {}};
    if (const auto* read = std::get_if<ReadOperation>(&client.operation.request)) {
        request.body = ReadRequest{read->vm};
    } else {
        request.body = Submit{
            {7, client.number}, client.sequence, client.sequence, std::get<VmOperation>(client.operation.request)};
    }
    if (reads(client) && chance(0.5)) {
        client.target = 1 + below(servers_.size());
    }
    const auto to = client.target;
    if (servers_.contains(to) && !chance(loss_now())) {
        const int copies = chance(repeat_now()) ? 2 : 1;
        for (int i = 0; i < copies; ++i) {
            after(between(microseconds(50), slowest_), [this, to, request, number = client.number] {
                with_server(to, servers_[to].life, [&](ServerCore& core) { core.request(number, request); });
            });
        }
    }
    const auto waiting_for = client.attempt;
    after(between(milliseconds(60), milliseconds(200)), [this, &client, waiting_for] {
        if (client.waiting && client.attempt == waiting_for) {
            client.target = 1 + below(servers_.size());
            attempt(client);
        }
    });
}

void Cluster::take_reply(Client& client, const Reply& reply, NodeId from) {
    if (!client.waiting || reply.id != client.attempt) {
        // An answer to an earlier attempt at this same operation counts as well.
        const bool earlier = client.waiting && reply.id < client.attempt &&
                             reply.id + static_cast<std::uint64_t>(client.attempts) > client.attempt;
        if (!earlier || std::holds_alternative<Redirect>(reply.body)) {
            return;
        }
    }
    if (const auto* redirect = std::get_if<Redirect>(&reply.body)) {
        const auto leader = redirect->leader;
        ++client.attempt;  // the timeout of that attempt is void
        client.target = leader != 0 && leader != from ? leader : 1 + below(servers_.size());
        after(between(milliseconds(1), milliseconds(30)), [this, &client, current = client.attempt] {
            if (client.waiting && client.attempt == current) {
                attempt(client);
            }
        });
        return;
    }
    client.target = from;
    finish(client, &reply);
}

void Cluster::finish(Client& client, const Reply* reply) {
    client.waiting = false;
    ++client.attempt;
    client.attempts = 0;
    ++client.done;
    auto& operation = client.operation;
    if (reply != nullptr) {
        if (const auto* answer = std::get_if<Answer>(&reply->body)) {
            check(answer->reason != Reason::superseded, "a client was told that it has an answer that it has not");
            operation.answer = *answer;
        } else if (const auto* read = std::get_if<ReadReply>(&reply->body)) {
            operation.answer.granted = true;
            operation.answer.current = read->state;
        } else {
            return;
        }
        operation.answered = now_.count();
        ++verdict_.operations;
    }
    const auto vm = vm_of(operation);
    if (reply != nullptr) {
        client.seen[vm] = operation.answer.current;
    }
    say("client {} {}", client.number, describe(operation));
    history_[vm].push_back(operation);
    const auto pause = reads(client) ? milliseconds(60) : milliseconds(150);
    after(between(milliseconds(1), pause), [this, &client] { next_operation(client); });
}

}  // namespace understudy::arbiter::simulation
