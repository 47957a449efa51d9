#include "tools/verifier/ledger_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace understudy::tools {
namespace {

using Operation = LedgerRequest::Operation;

constexpr std::int64_t kAccounts = 100;
constexpr std::int64_t kLargestAmount = 5000;  // pgbench's

// Any one that makes no two runs or connections alike; wraps.
std::uint64_t mix(std::uint64_t value) {
    value ^= value >> 31U;
    value *= 0x9e37'79b9'7f4a'7c15U;
    return value ^ (value >> 29U);
}

}  // namespace

void LedgerModel::Teller::add(std::int64_t amount) {
    ++transactions;
    balance += amount;
    ++lines;
    ++numbers;
    amounts += amount;
}

LedgerModel::LedgerModel(std::string prefix, unsigned teller, unsigned tellers)
    : prefix_(std::move(prefix)), teller_(teller), tellers_(tellers) {}

// Two that make the same table at the same moment would fail: they wait for each other.
LedgerRequest LedgerModel::prepare() const {
    return {.operation = Operation::prepare,
            .sql = fmt::format("BEGIN; SELECT pg_advisory_xact_lock(hashtext('{0}'))::text;"
                               "CREATE TABLE IF NOT EXISTS {0}_accounts(id int PRIMARY KEY, balance bigint NOT NULL);"
                               "CREATE TABLE IF NOT EXISTS {0}_tellers(id int PRIMARY KEY, balance bigint NOT NULL,"
                               " transactions bigint NOT NULL);"
                               "CREATE TABLE IF NOT EXISTS {0}_ledger(teller int NOT NULL, number bigint NOT NULL,"
                               " account int NOT NULL, amount bigint NOT NULL);"
                               "CREATE INDEX IF NOT EXISTS {0}_lines ON {0}_ledger(teller, number);"
                               "INSERT INTO {0}_accounts SELECT i, 0 FROM generate_series(0, {1}) i"
                               " ON CONFLICT DO NOTHING;"
                               "INSERT INTO {0}_tellers SELECT i, 0, 0 FROM generate_series(0, {2}) i"
                               " ON CONFLICT DO NOTHING; COMMIT",
                               prefix_, kAccounts - 1, tellers_ - 1)};
}

// What a failed statement has left open is over.
std::string LedgerModel::begin() const {
    return failed_ ? "ROLLBACK; " : "";
}

LedgerRequest LedgerModel::next() {
    return doubt_ || unknown_ ? read() : transfer();
}

LedgerRequest LedgerModel::transfer() {
    const std::int64_t number = ++sequence_;
    const std::uint64_t chance = mix((std::uint64_t{teller_} << 40U) + static_cast<std::uint64_t>(number));
    const auto account = static_cast<std::int64_t>(chance % kAccounts);
    const auto amount = static_cast<std::int64_t>((chance >> 20U) % (2 * kLargestAmount + 1)) - kLargestAmount;
    return {.operation = Operation::transfer,
            .number = number,
            .amount = amount,
            .sql = fmt::format("{5}BEGIN; UPDATE {0}_accounts SET balance = balance + {3} WHERE id = {2};"
                               "UPDATE {0}_tellers SET balance = balance + {3}, transactions = transactions + 1"
                               " WHERE id = {1} RETURNING transactions, balance;"
                               "INSERT INTO {0}_ledger VALUES ({1}, {4}, {2}, {3}); COMMIT",
                               prefix_, teller_, account, amount, number, begin())};
}

LedgerRequest LedgerModel::read() const {
    return {.operation = Operation::read,
            .sql = fmt::format("{2}SELECT transactions, balance, lines, numbers, amounts FROM {0}_tellers,"
                               " (SELECT count(*) AS lines, count(DISTINCT number) AS numbers,"
                               " coalesce(sum(amount), 0)::bigint AS amounts FROM {0}_ledger WHERE teller = {1}) AS own"
                               " WHERE id = {1}",
                               prefix_, teller_, begin())};
}

LedgerRequest LedgerModel::sums() const {
    return {.operation = Operation::sums,
            .sql = fmt::format("{1}SELECT (SELECT sum(balance) FROM {0}_accounts)::bigint,"
                               " (SELECT sum(balance) FROM {0}_tellers)::bigint,"
                               " (SELECT coalesce(sum(amount), 0) FROM {0}_ledger)::bigint",
                               prefix_, begin())};
}

Judgement LedgerModel::judge(const LedgerRequest& request, const LedgerAnswer& answer) {
    if (!answer.error.empty()) {
        failed_ = true;
        return wrong(fmt::format("teller {} was answered '{}'", teller_, answer.error));
    }
    failed_ = false;
    switch (request.operation) {
        case Operation::prepare:
            return {};
        case Operation::transfer:
            return judge_transfer(request, answer);
        case Operation::read:
            return judge_read(answer);
        case Operation::sums:
            break;
    }
    return judge_sums(answer);
}

Judgement LedgerModel::judge_transfer(const LedgerRequest& request, const LedgerAnswer& answer) {
    acknowledged_.add(request.amount);
    Judgement judgement{.acknowledged_write = true};
    if (answer.numbers == std::vector{acknowledged_.transactions, acknowledged_.balance}) {
        return judgement;
    }
    const std::int64_t counted = answer.numbers.empty() ? 0 : answer.numbers.front();
    judgement.lost_writes = missing(counted);
    judgement.contradiction = judgement.lost_writes == 0;
    judgement.finding = fmt::format("teller {} answered {} where {} transactions and balance {} were due", teller_,
                                    fmt::join(answer.numbers, ", "), acknowledged_.transactions, acknowledged_.balance);
    unknown_ = true;
    return judgement;
}

std::uint64_t LedgerModel::missing(std::int64_t counted) const {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(acknowledged_.transactions - counted, 0));
}

Judgement LedgerModel::judge_read(const LedgerAnswer& answer) {
    if (answer.numbers.size() != 5) {
        return wrong(fmt::format("teller {} is not there", teller_));
    }
    const Teller found{answer.numbers[0], answer.numbers[1], answer.numbers[2], answer.numbers[3], answer.numbers[4]};
    Teller doubted = acknowledged_;
    if (doubt_) {
        doubted.add(*doubt_);
    }
    Judgement judgement;
    if (!unknown_ && found != acknowledged_ && found != doubted) {
        judgement.lost_writes = missing(std::min(found.transactions, found.numbers));
        judgement.contradiction = judgement.lost_writes == 0;
        judgement.finding = fmt::format(
            "teller {} has {} transactions and balance {}, and in the ledger {} lines with {} numbers and amounts of "
            "{}, where {} transactions and {} were acknowledged",
            teller_, found.transactions, found.balance, found.lines, found.numbers, found.amounts,
            acknowledged_.transactions, acknowledged_.balance);
    }
    acknowledged_ = found;
    doubt_.reset();
    unknown_ = false;
    return judgement;
}

Judgement LedgerModel::judge_sums(const LedgerAnswer& answer) {
    const auto& sums = answer.numbers;
    const bool differ = sums.size() != 3 || sums[0] != sums[1] || sums[1] != sums[2];
    if (!differ || std::exchange(sums_differ_, true)) {
        return {};
    }
    return {.contradiction = true,
            .finding = fmt::format("the sums of accounts, tellers and ledger differ: {}", fmt::join(sums, ", "))};
}

Judgement LedgerModel::wrong(std::string finding) {
    unknown_ = true;
    return {.contradiction = true, .finding = std::move(finding)};
}

void LedgerModel::leave_in_doubt(const LedgerRequest& request) {
    if (request.operation == Operation::transfer) {
        doubt_ = request.amount;
    }
}

}  // namespace understudy::tools
