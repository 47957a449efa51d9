// What is made of the answers of Redis and its Sentinels, good ones and bad ones.
#include "tools/bench/sentinel.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace understudy::tools {
namespace {

std::vector<Reply> texts(const std::vector<std::string>& words) {
    std::vector<Reply> replies;
    replies.reserve(words.size());
    for (const std::string& word : words) {
        replies.push_back({.kind = Reply::Kind::text, .text = word});
    }
    return replies;
}

TEST(Sentinel, SaysWhereTheMasterIs) {
    EXPECT_EQ(ask_for_master(), "*3\r\n$8\r\nSENTINEL\r\n$23\r\nGET-MASTER-ADDR-BY-NAME\r\n$5\r\nbench\r\n");
    EXPECT_EQ(master_of(texts({"10.79.0.11", "6379"})), (Address{"10.79.0.11", 6379}));
}

TEST(Sentinel, ThatKnowsNoMasterOrAnswersSomethingElseNamesNone) {
    EXPECT_EQ(master_of({}), std::nullopt);
    EXPECT_EQ(master_of(std::vector<Reply>{{.kind = Reply::Kind::nil}}), std::nullopt);
    EXPECT_EQ(master_of(std::vector<Reply>{{.kind = Reply::Kind::error, .text = "ERR no"}}), std::nullopt);
    for (const auto& bad : {texts({"10.79.0.11"}), texts({"", "6379"}), texts({"10.79.0.11", "0"}),
                            texts({"10.79.0.11", "65536"}), texts({"10.79.0.11", "-1"}), texts({"10.79.0.11", "6379x"}),
                            texts({"10.79.0.11", ""}), texts({"10.79.0.11", "6379", "x"})}) {
        EXPECT_EQ(master_of(bad), std::nullopt) << bad.back().text;
    }
}

TEST(Sentinel, OnlyWhoSaysSoIsAMaster) {
    auto role = texts({"master", "3129659"});
    EXPECT_TRUE(is_master(role));
    EXPECT_FALSE(is_master(texts({"slave", "10.79.0.11"})));
    EXPECT_FALSE(is_master({}));
    EXPECT_FALSE(is_master(std::vector<Reply>{{.kind = Reply::Kind::error, .text = "master"}}));
}

TEST(Sentinel, CountsReplicasThatHaveAll) {
    const std::string info =
        "# Replication\r\nrole:master\r\nconnected_slaves:3\r\n"
        "slave0:ip=10.79.0.12,port=6379,state=online,offset=14,lag=0\r\n"
        "slave1:ip=10.79.0.13,port=6379,state=wait_bgsave,offset=0,lag=0\r\n"
        "slave2:ip=10.79.0.14,port=6379,xstate=online,offset=0,lag=0\r\n"
        "slave_read_only:1,state=online\r\nmaster_failover_state:no-failover\r\n";
    EXPECT_EQ(replicas_in_sync(info), 1U);
    EXPECT_EQ(replicas_in_sync(""), 0U);
    EXPECT_EQ(replicas_in_sync("slave"), 0U);
    EXPECT_EQ(replicas_in_sync("slave0"), 0U);
    EXPECT_EQ(replicas_in_sync("slave0:"), 0U);
    EXPECT_EQ(replicas_in_sync("slave0:,,,state"), 0U);
    EXPECT_EQ(replicas_in_sync("slave0:state=online"), 1U);
}

TEST(Sentinel, CountsReplicasThatItCouldMakeTheMaster) {
    auto both = texts({"name", "10.79.0.11:6379", "flags", "s_down,slave,disconnected", "master-link-status", "ok",
                       "name", "10.79.0.12:6379", "flags", "slave", "master-link-status", "ok"});
    EXPECT_EQ(usable_replicas(both), 1U);
    EXPECT_EQ(usable_replicas(texts({"name", "a", "flags", "slave", "master-link-status", "err"})), 0U);
    EXPECT_EQ(usable_replicas(texts({"name", "a", "flags", "slave", "name", "b", "master-link-status", "ok"})), 0U);
    EXPECT_EQ(usable_replicas(texts({"name", "a", "flags"})), 0U);
    EXPECT_EQ(usable_replicas({}), 0U);
}

TEST(Sentinel, CountsItsKind) {
    EXPECT_EQ(known_sentinels("# Sentinel\r\nsentinel_masters:1\r\n"
                              "master0:name=other,status=ok,address=10.79.0.11:6379,slaves=1,sentinels=5\r\n"
                              "master1:name=bench,status=ok,address=10.79.0.11:6379,slaves=1,sentinels=3\r\n"),
              3U);
    EXPECT_EQ(known_sentinels("master0:name=bench,sentinels=x"), 0U);
    EXPECT_EQ(known_sentinels("master0"), 0U);
    EXPECT_EQ(known_sentinels(""), 0U);
}

}  // namespace
}  // namespace understudy::tools
