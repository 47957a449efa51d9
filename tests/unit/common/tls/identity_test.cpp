#include "common/tls/identity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace understudy::tls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Identity, StandsInUrisAndComesBack) {
    const Identity alpha{Role::host, "host-alpha", {"shop", "50% off *"}, false};
    EXPECT_THAT(uris_of(alpha),
                ElementsAre("understudy:role:host", "understudy:vm:shop", "understudy:vm:50%25%20off%20%2A"));
    EXPECT_EQ(identity_from("host-alpha", uris_of(alpha)), alpha);
    const Identity all{Role::gateway, "gateway-edge", {}, true};
    EXPECT_EQ(identity_from("gateway-edge", uris_of(all)), all);
    for (const Role role : {Role::arbiter, Role::host, Role::gateway, Role::client, Role::site_operator}) {
        const Identity one{role, "x", {}, false};
        EXPECT_EQ(identity_from("x", uris_of(one)), one);
    }
}

TEST(Identity, IsNoneWhereTheNamesSayNoneOrNonsense) {
    EXPECT_FALSE(identity_from("x", {}));
    EXPECT_FALSE(identity_from("x", {"https://example.org", "understudy:vm:*"}));
    EXPECT_FALSE(identity_from("x", {"understudy:role:king"}));
    EXPECT_FALSE(identity_from("x", {"understudy:role:host", "understudy:role:client"}));
    for (const auto* vm : {"%", "%2", "%zz", "a b", "**", "%+1"}) {
        EXPECT_FALSE(identity_from("x", {"understudy:role:host", std::string("understudy:vm:") + vm})) << vm;
    }
    EXPECT_FALSE(identity_of(nullptr));
}

TEST(Identity, ActsForItsVmsAlone) {
    const Identity alpha{Role::host, "host-alpha", {"shop", "*"}, false};
    EXPECT_TRUE(alpha.may_act_for("shop"));
    EXPECT_FALSE(alpha.may_act_for("mail")) << "a VM of the name * is one VM";
    EXPECT_FALSE(alpha.may_act_for(""));
    EXPECT_EQ(objection_to(alpha, Role::host, "shop"), "");
    EXPECT_THAT(objection_to(alpha, Role::host, "mail"), HasSubstr("not for the VM 'mail'"));
    EXPECT_THAT(objection_to(alpha, Role::gateway, "shop"), HasSubstr("is a host's, not a gateway's"));
    EXPECT_THAT(objection_to(std::nullopt, Role::host, "shop"), HasSubstr("understudy init"));
}

}  // namespace
}  // namespace understudy::tls
