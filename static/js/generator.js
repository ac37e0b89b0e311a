export const newPassword = () => "abcde-fghjk-mnpqr-stuvw";
export const newSecret = () => "Abcdefgh2345_xyzABCD6789";
