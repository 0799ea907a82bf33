// Shows pushes while the page is closed; FCM itself puts up what carries a notification.
importScripts("/__/firebase/11.10.0/firebase-app-compat.js");
importScripts("/__/firebase/11.10.0/firebase-messaging-compat.js");
importScripts("/__/firebase/init.js");
firebase.messaging();
