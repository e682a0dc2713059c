// Who can open the links that people make to copies of conversations: "off" (nobody makes any), "users" or "anyone".
export const shareSetting = { who: "off" };
