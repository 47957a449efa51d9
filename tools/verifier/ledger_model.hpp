// What one connection to a PostgreSQL server knows of the transactions that it committed, and what an answer of the
// server says about them. Pure: no socket, no clock.
//
// The transaction is pgbench's, which is TPC-B's: an amount is added to an account that all connections share and to
// the connection's own teller, and a line in the ledger says so. Whoever has all three together can tell what has
// happened:
//
//   - the teller counts its transactions, and each answers with the count: one that was executed twice, or never, shows
//     in the next answer;
//   - the ledger has a line for each acknowledged transaction, and no number twice;
//   - the balances of accounts and tellers and the amounts in the ledger have the same sum, at any time: a transaction
//     took place as a whole or not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/verifier/judgement.hpp"

namespace understudy::tools {

struct LedgerRequest {
    enum class Operation : std::uint8_t { prepare, transfer, read, sums };
    Operation operation = Operation::read;
    std::int64_t number = 0;  // of a transfer: each has its own
    std::int64_t amount = 0;  // of a transfer
    std::string sql{};        // one or several statements
};

struct LedgerAnswer {
    std::string error{};                  // of the statement that failed; empty: none did
    std::vector<std::int64_t> numbers{};  // of all rows of all statements, as they came
};

class LedgerModel {
  public:
    // `prefix` begins the tables' names: a word of its own for each run, the same for all its connections. `teller` is
    // the connection's own number, below `tellers`.
    LedgerModel(std::string prefix, unsigned teller, unsigned tellers);

    // Makes the tables unless another connection was first.
    [[nodiscard]] LedgerRequest prepare() const;
    // A transaction; after one without an answer, the read that resolves the doubt.
    [[nodiscard]] LedgerRequest next();
    // What the server holds of this connection's transactions.
    [[nodiscard]] LedgerRequest read() const;
    // The sums over everybody's.
    [[nodiscard]] LedgerRequest sums() const;

    // Each finding counts once: from here on things are taken to be as the server says.
    [[nodiscard]] Judgement judge(const LedgerRequest& request, const LedgerAnswer& answer);
    // No answer will come: a transfer may have happened or not.
    void leave_in_doubt(const LedgerRequest& request);

  private:
    // The numbers that read() asks for.
    struct Teller {
        std::int64_t transactions = 0;  // that the teller counted
        std::int64_t balance = 0;
        std::int64_t lines = 0;    // of the ledger
        std::int64_t numbers = 0;  // of these lines, without repetition
        std::int64_t amounts = 0;  // their sum

        void add(std::int64_t amount);
        bool operator==(const Teller&) const = default;
    };

    [[nodiscard]] LedgerRequest transfer();
    [[nodiscard]] std::string begin() const;
    [[nodiscard]] Judgement judge_transfer(const LedgerRequest& request, const LedgerAnswer& answer);
    [[nodiscard]] Judgement judge_read(const LedgerAnswer& answer);
    [[nodiscard]] Judgement judge_sums(const LedgerAnswer& answer);
    // Of the acknowledged transactions, when so many are there.
    [[nodiscard]] std::uint64_t missing(std::int64_t counted) const;
    [[nodiscard]] Judgement wrong(std::string finding);

    std::string prefix_;
    unsigned teller_;
    unsigned tellers_;
    std::int64_t sequence_ = 0;          // numbers the transfers that were asked for
    Teller acknowledged_;                // as the acknowledged transactions left it
    std::optional<std::int64_t> doubt_;  // the amount of a transfer without an answer
    bool failed_ = false;                // a statement did: a transaction may be open
    bool unknown_ = false;               // after a finding: the next read tells
    bool sums_differ_ = false;           // that has been found
};

}  // namespace understudy::tools
