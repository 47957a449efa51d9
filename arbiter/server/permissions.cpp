#include "arbiter/server/permissions.hpp"

#include <fmt/format.h>

#include "arbiter/register/vm_register.hpp"

namespace understudy::arbiter {
namespace {

using tls::Identity;
using tls::Role;

bool may_operate(const Identity& who) {
    return who.role == Role::site_operator || who.role == Role::arbiter;
}

bool may_submit(const Identity& who, const VmOperation& operation) {
    const auto* end = std::get_if<EndRequest>(&operation);
    if (end != nullptr && end->replica.empty()) {
        return may_operate(who);
    }
    return who.role == Role::host && who.may_act_for(vm_of(operation));
}

struct Judge {
    const Identity& who;
    std::uint64_t id;

    std::optional<Reply> operator()(const Submit& submit) const {
        return may_submit(who, submit.operation) ? std::nullopt
                                                 : std::optional(Reply{id, Answer{false, Reason::not_permitted, {}}});
    }
    std::optional<Reply> operator()(const ReadRequest& /*request*/) const { return {}; }
    std::optional<Reply> operator()(const ListRequest& /*request*/) const { return {}; }
    std::optional<Reply> operator()(const StatusRequest& /*request*/) const { return {}; }
    std::optional<Reply> operator()(const AddServerRequest& /*request*/) const { return operators(); }
    std::optional<Reply> operator()(const RemoveServerRequest& /*request*/) const { return operators(); }
    std::optional<Reply> operator()(const TransferRequest& /*request*/) const { return operators(); }
    std::optional<Reply> operator()(const SnapshotNowRequest& /*request*/) const { return operators(); }

    [[nodiscard]] std::optional<Reply> operators() const {
        return may_operate(who) ? std::nullopt
                                : std::optional(Reply{id, DoneReply{false, "this needs an operator's certificate"}});
    }
};

}  // namespace

std::string objection_to(const std::optional<Identity>& who, const Hello& hello) {
    if (!who) {
        return "the certificate says no role: 'understudy init' makes certificates that do";
    }
    if (hello.kind == Hello::Kind::peer && (who->role != Role::arbiter || who->name != tls::arbiter_name(hello.id))) {
        return fmt::format("the certificate of '{}' does not speak for server {}", who->name, hello.id);
    }
    return {};
}

std::optional<Reply> refusal_of(const Identity& who, const Request& request) {
    return std::visit(Judge{who, request.id}, request.body);
}

}  // namespace understudy::arbiter
